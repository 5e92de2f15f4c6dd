"""Pages that can be worked through as notebooks: the site offers each for download, made from the page itself when it is built.

    python docs/page_notebooks.py FOLDER      writes them without a site

A page stays Markdown, which is read, searched and tested; the notebook has its Python as cells of code, in order, and the rest as
cells of text. On pages whose commands belong to the same work they are cells, too, by ``!``.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PAGES = {
    "start.md": True,
    "how-to/notebooks.md": False,
    "tutorials/phantoms.md": False,
    "tutorials/own-volumes.md": True,
    "tutorials/clinical-tasks.md": True,
    "tutorials/radiographs.md": False,
    "tutorials/cluster.md": True,
}
"""Every page that is offered, and whether its commands are cells; elsewhere they are a longer way of the same work."""
FENCE = re.compile(r"^(```\w*\n.*?^```\n)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:)[^)]*\)")


def notebook(text: str, *, commands: bool = False) -> dict[str, Any]:
    """Return the notebook of a page, as nbformat 4.5 has it; links to other pages become their words."""
    cells: list[dict[str, Any]] = []
    for part in FENCE.split(text):
        code = _code(part, commands=commands)
        if code is None and part.strip():
            if cells and cells[-1]["cell_type"] == "markdown":
                cells[-1]["source"] += part
            else:
                cells.append({"cell_type": "markdown", "metadata": {}, "source": part})
        elif code is not None:
            cells.append(
                {"cell_type": "code", "metadata": {}, "source": code, "outputs": [], "execution_count": None}
            )
    for number, cell in enumerate(cells):
        source = cell["source"].strip("\n")
        if cell["cell_type"] == "markdown":
            parts = FENCE.split(source + "\n")
            source = "".join(
                part if at % 2 else LINK.sub(r"\1", part) for at, part in enumerate(parts)
            ).strip()
        cells[number] = {"id": f"cell-{number}", **cell, "source": source}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}


def _code(part: str, *, commands: bool) -> str | None:
    """Return the code of a block that becomes a cell; None of text and of other blocks."""
    if part.startswith("```python\n"):
        return part.removeprefix("```python\n").removesuffix("```\n")
    lines = part.removeprefix("```\n").removesuffix("```\n").splitlines()
    if commands and part.startswith("```\n") and lines and all(line.startswith("voxmix ") for line in lines):
        return "\n".join(f"!{line}" for line in lines)
    return None


def file_name(page: str) -> str:
    """Return the name of a page's notebook."""
    return f"voxmix-{Path(page).stem}.ipynb"


def write_notebooks(folder: Path) -> list[Path]:
    """Write the notebook of every page that is offered, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for page, commands in PAGES.items():
        made = notebook((DOCS / page).read_text(encoding="utf-8"), commands=commands)
        path = folder / file_name(page)
        path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def on_page_markdown(text: str, page: Any, config: Any, files: Any) -> str:
    """Put the link to the notebook below the heading of a page that is offered."""
    where = page.file.src_uri
    if where not in PAGES:
        return text
    up = "../" * where.count("/")
    head, line, rest = text.partition("\n")
    link = f'<a href="{"../" if config["use_directory_urls"] else ""}{up}notebooks/{file_name(where)}" download>Download as a notebook</a>'
    return f"{head}{line}\n{link}\n{rest}"


def on_post_build(config: Any) -> None:
    """Write the notebooks into the site."""
    write_notebooks(Path(config["site_dir"]) / "notebooks")


if __name__ == "__main__":
    for file in write_notebooks(Path(sys.argv[1])):
        sys.stdout.write(f"wrote {file}\n")
