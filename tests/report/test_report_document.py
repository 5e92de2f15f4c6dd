"""The file as a whole: complete, self-contained, safe, deterministic; and honest about what is missing."""

import dataclasses
import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from voxmix.errors import InputError
from voxmix.report import Check, ReportContent, render_report, write_report
from voxmix.report.document import _inert_json

_VOID = {"meta", "img", "link", "br", "hr", "input", "path", "use", "rect"}


class Reader(HTMLParser):
    """Collects ids, references, tags and open elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in _VOID:
            self.open.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        for name in ("href", "xlink:href", "src"):
            if found.get(name):
                self.references.append(str(found[name]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def test_page_is_well_formed_and_ids_are_unique(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    inner = {ref[1:] for ref in reader.references if ref.startswith("#")}
    assert inner <= set(reader.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(reader.ids)


def test_the_answer_comes_first_then_what_was_measured_then_what_to_do(page: str) -> None:
    """And reasons after that, then details; digests last."""
    assert re.findall(r'<section id="([^"]+)"', page) == [
        *("answer", "checks", "next"),
        *("what-if", "strategies", "regime", "transfer", "curves", "effective", "refine", "tasks"),
        *("volumes", "runs", "provenance"),
    ]
    assert page.index("0123456789abcdef") > page.index('<section id="provenance"')
    assert page.index('class="doubt"') < page.index('<section id="checks"')


def test_page_asks_nothing_of_the_network(page: str) -> None:
    reader = Reader(page)
    assert all(ref.startswith(("#", "data:")) for ref in reader.references)
    assert not any(tag in {"link", "iframe", "object"} for tag, _ in reader.tags)
    scripts = [a for tag, a in reader.tags if tag == "script"]
    assert [a for a in scripts if "type" in a and "id" in a] == [
        {"type": "application/json", "id": "what-if-data"}
    ]
    assert [a for a in scripts if a.get("type") != "application/json"] == [{}]  # one runs, and it is the last
    assert scripts[-1] == {}
    assert "@import" not in page
    policy = [a["content"] for t, a in reader.tags if t == "meta" and a.get("http-equiv")]
    assert policy
    assert str(policy[0]).startswith("default-src 'none'")
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"; script-src 'sha256-{digest}';" in str(policy[0])
    assert not re.search(r"\beval\b|new Function|innerHTML|\bfetch\b|XMLHttpRequest|import\(", script)
    assert not [name for _, found in reader.tags for name in found if name.startswith("on")]
    assert len(script) < 40_000


def test_every_figure_has_a_title_and_the_page_a_table_for_it(page: str) -> None:
    reader = Reader(page)
    drawings = [a for tag, a in reader.tags if tag == "svg"]
    assert (
        len(drawings) == 4 + 2 + 3 + 6 + 1
    )  # answer, means, shares, path; regime, effective; laws; targets; transfer
    for found in drawings:
        assert found["role"] == "img"
        assert set(str(found["aria-labelledby"]).split()) <= set(reader.ids)
    assert page.count('href="data:text/csv') == page.count("<table ") >= 15


def test_page_shows_no_nan(page: str) -> None:
    assert not re.search(r"\bnan\b", " ".join(Reader(page).text), flags=re.I)


def test_the_same_content_gives_the_same_bytes(content: ReportContent, page: str, tmp_path: Path) -> None:
    write_report(content, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == page.encode()


def test_data_cannot_end_its_element() -> None:
    text = _inert_json({"</script><script>": "<!--"})
    assert "<" not in text
    assert json.loads(text) == {"</script><script>": "<!--"}


def test_names_are_escaped(make_content) -> None:
    names = ("A & B's", "腹部-CT", "$x$_{2}")
    page = render_report(make_content(names, seeds=1, study='<script>alert("x")</script>'))
    figures = page.count('<div class="plot"')
    assert figures
    assert (
        page.count("<script") == page.count("</script") == figures + 2
    )  # data of each, of the panel; the script
    assert "&lt;script&gt;alert" in page
    text = "".join(Reader(page).text)
    for name in names:
        assert name in text


@pytest.mark.parametrize(
    ("without", "commands"),
    [
        (("checks",), {"voxmix pretrain"}),
        (("checks", "strategies", "by_budget"), {"voxmix pretrain", "voxmix allocate"}),
        (("checks", "strategies", "by_budget", "laws"), {"voxmix pretrain", "voxmix allocate", "voxmix fit"}),
        (
            ("checks", "strategies", "by_budget", "laws", "measurements", "runs", "pictures"),
            {"voxmix pretrain", "voxmix allocate", "voxmix fit", "voxmix run"},
        ),
    ],
)
def test_what_is_missing_is_named_with_its_command(
    content: ReportContent, without: tuple[str, ...], commands: set[str]
) -> None:
    empty = {
        f.name: f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        for f in dataclasses.fields(ReportContent)
        if f.name in without
    }
    page = render_report(dataclasses.replace(content, **empty))
    assert (
        set(re.findall(r"<code>(voxmix \w+)</code>", page)) | set(re.findall(r"Next: (voxmix \w+)\.", page))
        == commands | {"voxmix finetune", "voxmix refine"}  # neither was done in this study
    )


def test_an_empty_study_and_bare_measurements_have_reports(make_world) -> None:
    empty = render_report(ReportContent(study="nothing yet"))
    assert "nothing yet" in empty
    assert "script" not in empty
    table = make_world(("CT", "MR")).table(anchors=False)
    page = render_report(ReportContent(study="runs only", measurements=table))
    assert page.count("<svg ") == 3  # two curves, one regime
    assert "what-if-data" not in page


def test_missing_pairs_are_drawn_as_missing(make_world) -> None:
    drop = frozenset({("ABD", "PET"), ("PET", "BRAIN"), ("BRAIN", "BRAIN")})
    table = make_world(("ABD", "BRAIN", "PET")).table(drop=drop)
    page = render_report(ReportContent(study="gaps", measurements=table))
    assert page.count("<svg ") == 4  # three curves, one regime
    assert "–" in page


def test_a_check_of_an_unknown_target_is_refused(content: ReportContent) -> None:
    check = Check(strategy="uniform", budget=8, seed=1, target="KNEE", loss=0.1)
    with pytest.raises(InputError, match="KNEE"):
        dataclasses.replace(content, checks=(check,))
