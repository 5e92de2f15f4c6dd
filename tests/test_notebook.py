"""Changelog and notebook are kept as they promise: kinds of changes, a status for every finding, an index of all."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = (ROOT / "NOTEBOOK.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^## (\d+)\. (.+) \((\d{4}-\d{2}-\d{2})\)$")
STATUS = re.compile(r"Status: (holds|superseded by \[(\d+)\] \([^)]+\))( \([^)]+\))?")
ROW = re.compile(
    r"^\| (\d+) \| (\S+) \| \[(.+)\]\[\1\] \| (.+) \| (holds|superseded by \[\d+\]) \|$", re.MULTILINE
)

Entry = tuple[str, str, str, str]


def entries(text: str) -> list[Entry]:
    """Return number, date, title and status ("holds", "superseded by [n]") of every entry.

    Raises:
        AssertionError: a heading or a status of another form.
    """
    lines = text.splitlines()
    found = []
    for at, line in enumerate(lines):
        if not line.startswith("## "):
            continue
        heading = HEADING.fullmatch(line)
        assert heading, f"not '## number. title (date)': {line}"
        status = STATUS.fullmatch(lines[at + 2])
        assert status, f"no status below {line!r}: {lines[at + 2]!r}"
        number, title, date = heading.groups()
        found.append((number, date, title, status[1].partition(" (")[0]))
    return found


def test_every_finding_has_a_number_a_date_and_a_status() -> None:
    found = entries(NOTEBOOK)
    assert [number for number, *_ in found] == [str(n) for n in range(1, len(found) + 1)]
    dates = [date for _, date, *_ in found]
    assert dates == sorted(dates)


@pytest.mark.parametrize(
    "text",
    [
        "## 1. A finding (2026-11-22)\n\nIt is so.",
        "## A finding\n\nStatus: holds",
        "## 1. A finding (2026-11-22)\n\nStatus: superseded",
    ],
)
def test_a_finding_without_them_is_noticed(text: str) -> None:
    with pytest.raises(AssertionError):
        entries(text)


def test_what_supersedes_a_finding_exists_and_is_later() -> None:
    found = entries(NOTEBOOK)
    named = {number: re.search(r"\[(\d+)\]", status) for number, _, _, status in found}
    later = {number: int(match[1]) for number, match in named.items() if match}
    assert later
    for number, by in later.items():
        assert int(number) < by <= len(found), f"entry {number} is superseded by {by}"


def test_the_index_of_the_notebook_lists_every_finding() -> None:
    top = NOTEBOOK.split("\n## ", 1)[0]
    rows = [(number, date, title, status) for number, date, title, _, status in ROW.findall(top)]
    assert rows == entries(NOTEBOOK)


def test_the_index_leads_to_the_findings() -> None:
    for number, date, title, _ in entries(NOTEBOOK):
        anchor = re.sub(r"[^\w\- ]", "", f"{number}. {title} ({date})".lower()).replace(" ", "-")
        assert f"\n[{number}]: #{anchor}\n" in NOTEBOOK


def test_lines_of_notebook_and_changelog_are_even() -> None:
    assert [line for line in (NOTEBOOK + CHANGELOG).splitlines() if len(line) > 120] == []


def test_the_changelog_goes_by_version_and_kind() -> None:
    from voxmix import __version__

    versions = re.findall(r"^## \[(.+)\] - (unreleased|\d{4}-\d{2}-\d{2})$", CHANGELOG, re.MULTILINE)
    assert versions[0][0] == __version__
    kinds = ["Changes numbers or ids", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for part in re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1:]:
        named = re.findall(r"^### (.+)$", part, re.MULTILINE)
        assert set(named) <= set(kinds)
        assert len(named) == len(set(named))
        assert named[0] == kinds[0], "what changes numbers or ids comes first"
