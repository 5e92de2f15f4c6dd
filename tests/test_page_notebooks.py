"""Pages as notebooks: whole, valid, with the Python that tests run; and each is run as a notebook where there is a kernel."""

import json
import os
import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKER = runpy.run_path(str(ROOT / "docs" / "page_notebooks.py"))
PAGES: dict[str, bool] = MAKER["PAGES"]
_MISSING = [name for name in ("nbclient", "ipykernel", "torch") if find_spec(name) is None]


@pytest.mark.parametrize("page", PAGES)
def test_a_notebook_has_the_code_of_its_page_and_all_its_words(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    made = MAKER["notebook"](text, commands=PAGES[page])
    code = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"]
    shown = [block.strip("\n") for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    assert [source for source in code if not source.startswith("!")] == shown
    words = " ".join(cell["source"] for cell in made["cells"])
    for heading in re.findall(r"^#+ .+$", text, re.MULTILINE):
        assert heading in words
    assert "](../" not in words
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
    if find_spec("nbformat"):
        import nbformat

        nbformat.validate(nbformat.from_dict(made))


def test_commands_of_one_work_are_cells() -> None:
    made = MAKER["notebook"](
        "# A\n\n```\nvoxmix fit a.csv\nvoxmix plan b\n```\n\nMore [there](b.md).\n", commands=True
    )
    assert [cell["source"] for cell in made["cells"]] == [
        "# A",
        "!voxmix fit a.csv\n!voxmix plan b",
        "More there.",
    ]
    kept = MAKER["notebook"]("```\nvoxmix demo\n```\n")
    assert [cell["cell_type"] for cell in kept["cells"]] == ["markdown"]


def test_the_site_links_to_each_and_holds_it(tmp_path: Path) -> None:
    from types import SimpleNamespace

    for flat in (True, False):
        config = {"use_directory_urls": not flat, "site_dir": str(tmp_path)}
        for page in PAGES:
            place = SimpleNamespace(file=SimpleNamespace(src_uri=page))
            text = MAKER["on_page_markdown"]("# Title\n\nText\n", place, config, None)
            (link,) = re.findall(r'href="([^"]+)" download', text)
            here = tmp_path / page if flat else tmp_path / page.removesuffix(".md") / "index.html"
            MAKER["on_post_build"](config)
            target = Path(os.path.normpath(here.parent / link))
            assert json.loads(target.read_text(encoding="utf-8"))["nbformat"] == 4
            assert text.startswith("# Title\n")


SAYS: dict[str, tuple[str, ...]] = {
    "start.md": ("proven within", "wrote law.json"),
    "how-to/notebooks.md": (),
    "tutorials/phantoms.md": ("['transfer-aware'", "'ABD-CT'"),
    "tutorials/own-volumes.md": (
        "patient-03/ct.nii.gz: truncated or damaged",
        "1 unreadable, 1 duplicate",
        "2 rows taken out",
        "report: mystudy/report.html",
    ),
    "tutorials/clinical-tasks.md": (
        "liver: 6 test cases",
        "illness: 6 test cases",
        "Scores on the test cases",
    ),
    "tutorials/radiographs.md": ("12 runs",),
    "tutorials/cluster.md": ("exit codes [0, 0]", "all done", "the same to the last digit: True"),
}
"""Page to what its notebook prints when it works."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}; make test-docs installs them"
)
@pytest.mark.parametrize("page", PAGES)
def test_a_notebook_runs_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    (path,) = [one for one in MAKER["write_notebooks"](tmp_path) if one.name == MAKER["file_name"](page)]
    ready = nbformat.read(path, as_version=4)
    for cell in ready["cells"]:  # a command that fails does not end a notebook; here it does
        if cell["cell_type"] == "code" and cell["source"].startswith("!"):
            lines = cell["source"].splitlines()
            cell["source"] = "".join(
                f"{line}\nassert _exit_code == 0, ({line!r}, _exit_code)\n" for line in lines
            )
    NotebookClient(ready, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in ready["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    printed = "".join(output.get("text", "") for cell in code for output in cell["outputs"])
    said = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed).split())  # commands write to a terminal
    for words in SAYS[page]:
        assert words in said


def test_every_page_says_what_its_notebook_prints() -> None:
    assert set(SAYS) == set(PAGES)
