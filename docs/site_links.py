"""What the site does to pages (mkdocs.yml): pages of the repository's root join it, and links hold wherever they are read.

In the repository a page links to files by their place in it. On the site, what lies in docs/ is a page, README, NOTEBOOK and
others of the root are pages of project/, and any other file, such as a test, is named by its path, since no public address of
the repository is known.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROJECT = {
    name: f"project/{name.partition('.')[0].lower()}.md"
    for name in ("README.md", "NOTEBOOK.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def with_site_links(text: str, source: str, page: str) -> str:
    """Return a page's text with links as they are on the site.

    Args:
        text: Markdown.
        source: where it lies in the repository, such as docs/how-to/training.md.
        page: where it lies on the site, such as how-to/training.md.
    """

    def linked(found: re.Match[str]) -> str:
        picture, words, target, anchor = found.groups()
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        there = place.removeprefix("docs/") if place.startswith("docs/") else PROJECT.get(place)
        if not (ROOT / place).exists():
            return found[0]  # a broken link stays, so that the build names it
        if there is None or there.endswith(".py"):
            return f"{words} (`{place}`)"
        return f"{picture}[{words}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor or ''})"

    parts = CODE.split(text)
    return "".join(part if at % 2 else LINK.sub(linked, part) for at, part in enumerate(parts))


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the root."""
    from mkdocs.structure.files import File

    for name, page in PROJECT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        if name == "LICENSE":
            text = f"# Licence\n\n```\n{text}```\n"
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(text: str, page: Any, config: Any, files: Any) -> str:
    """Return a page's text with links as they are on the site."""
    where = page.file.src_uri
    source = next((name for name, there in PROJECT.items() if there == where), f"docs/{where}")
    return with_site_links(text, source, where)
