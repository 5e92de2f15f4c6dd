"""The reference pages are what the code says, and leave no key and no option without a meaning."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = maker()
PAGES, TABLES = MAKER.PAGES, MAKER.TABLES


@pytest.mark.parametrize("page", PAGES)
def test_page_is_what_the_code_says(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert written == PAGES[page](), f"docs/reference/{page} is out of date; run: make reference"


@pytest.mark.parametrize("page", TABLES)
def test_table_is_what_the_code_says(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert MAKER.with_table(written, TABLES[page]()) == written, f"{page} is out of date; run: make reference"
    assert MAKER.with_table(written, "| none |") != written


@pytest.mark.parametrize("page", [page for page in PAGES if page.endswith(".md")])
def test_everything_has_a_meaning(page: str) -> None:
    rows = [line for line in PAGES[page]().splitlines() if re.match(r"\| `", line)]
    assert len(rows) > 40
    assert [row for row in rows if row.endswith(("|  |", "| |"))] == []
