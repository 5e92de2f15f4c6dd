"""Figures of pages in a browser: their values under the pointer and by keys, series off and on, files; and what axe finds."""

import base64
import csv
import io
import re
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import made_encoder_study
import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, MISSING, Browser
from PIL import Image

from voxmix.report import ReportContent, strategy_tables, write_encoder_report, write_report
from voxmix.report.audit_page import write_image_audit
from voxmix.report.compare_page import write_comparison
from voxmix.report.law_content import law_content
from voxmix.report.sections import all_sections
from voxmix.report.svg import Drawing

AXE = Path(__file__).resolve().parents[2] / ".venv/axe/node_modules/axe-core/axe.min.js"
pytestmark = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason=MISSING)

SAVED = """const [name, kind] = arguments, told = arguments[2];
HTMLAnchorElement.prototype.click = function () { told([this.download, this.href]); };
const root = [...document.querySelectorAll(".plot")].find((p) => p.textContent.includes(`"name":"${name}"`));
[...root.closest(".drawing").querySelectorAll(".saves button")].find((b) => b.textContent === kind).click();"""


@pytest.fixture(scope="module")
def page(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(content, path)
    return path


@pytest.fixture(scope="module")
def drawn(content: ReportContent) -> dict[str, Drawing]:
    """Every figure of the page by its name."""
    every = (item for section in all_sections(content) for block in section.blocks for item in block.drawings)
    return {item.name: item for item in every}


def saved(browser: Browser, name: str, kind: str) -> bytes:
    """Return the file of a figure that its button gives."""
    called, address = browser.run_until_told(SAVED, name, kind)
    assert called == f"{name}.{kind.lower()}"
    head, _, data = address.partition(",")
    return base64.b64decode(data) if head.endswith("base64") else unquote_to_bytes(data)


def test_every_figure_tells_its_values_within_itself(drawn: dict[str, Drawing]) -> None:
    """As many places as rows, all inside of the drawing, and every series has something that can be switched off."""
    for item in drawn.values():
        assert len(item.told) == len(item.values.rows) > 0
        boxes = np.array([told.box for told in item.told])
        assert (boxes[:, :2] <= boxes[:, 2:]).all()
        assert (boxes.min(axis=0)[:2] >= 0).all()
        assert (boxes.max(axis=0)[2:] <= (item.width, item.height)).all()
        for number in range(len(item.series)):
            assert f'data-series="{number}"' in item.svg


def test_the_pointer_and_the_arrow_keys_read_values(
    browser: Browser, page: Path, content: ReportContent, drawn: dict[str, Drawing]
) -> None:
    item = drawn["shares"]
    browser.size(1280)
    browser.open(page)
    place = """const root = [...document.querySelectorAll(".plot")].find((p) => p.textContent.includes('"name":"shares"'));
        root.scrollIntoView({ block: "center" }); const b = root.querySelector("svg").getBoundingClientRect();
        return [b.left, b.top, b.width];"""
    left, top, width = browser.run(place)
    time.sleep(0.1)  # that it has scrolled
    told = item.told[7]
    scale = width / item.width
    browser.point(
        left + scale * (told.box[0] + told.box[2]) / 2, top + scale * (told.box[1] + told.box[3]) / 2
    )
    shown = "return document.querySelector('.tip.on')?.textContent ?? ''"
    assert browser.run(shown) == told.text
    assert told.text.splitlines()[0] == f"{list(content.strategies)[1]} · {content.domain_names[1]}"
    # Scrolling takes values away, so this does not.
    browser.run("document.querySelector('.plot').focus({ preventScroll: true })")
    browser.press("Right", "Right")
    first = drawn["answer"]
    assert browser.run(shown) == first.told[1].text
    browser.press("Escape")
    assert browser.run(shown) == ""


def test_a_series_is_switched_off_in_every_figure_of_its_group_and_in_its_files(
    browser: Browser, page: Path, content: ReportContent, drawn: dict[str, Drawing]
) -> None:
    browser.open(page)
    pressed = browser.run(
        """const figure = document.querySelector('#curves figure.drawn');
        const b = [...figure.querySelectorAll('.legend button')][0]; b.click();
        const seen = (k) => [...figure.querySelectorAll(`[data-series="${k}"]`)].filter((g) => g.getBoundingClientRect().width).length;
        return [b.textContent, b.getAttribute('aria-pressed'), seen(0), seen(1) > 0];"""
    )
    assert pressed == [f"trained on {content.domain_names[0]}", "false", 0, True]
    whole, less = drawn["curves-1"].svg, saved(browser, "curves-1", "SVG").decode("utf-8")
    assert whole.count('data-series="0"') > 1
    assert 'data-series="0"' not in less
    assert 'data-series="1"' in less


def test_a_figure_is_saved_as_picture_and_as_numbers(
    browser: Browser, page: Path, content: ReportContent, drawn: dict[str, Drawing]
) -> None:
    """In the light colors whatever the scheme, three times as sharp; the CSV holds what is drawn at full precision."""
    item = drawn["answer"]
    browser.scheme("dark")
    browser.open(page)
    text = saved(browser, "answer", "SVG").decode("utf-8")
    assert "var(--" not in text
    assert "<title>" in text
    picture = np.asarray(Image.open(io.BytesIO(saved(browser, "answer", "PNG"))).convert("RGB"))
    assert picture.shape[:2] == (round(item.height * 3), round(item.width * 3))
    assert tuple(picture[0, 0]) == (255, 255, 255)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    head, *rows = csv.reader(io.StringIO(saved(browser, "answer", "CSV").decode("utf-8")))
    browser.scheme("light")
    assert head[:2] == ["domain", "share"]
    shares = content.strategies[content.answer].mixture.weights
    np.testing.assert_array_equal([float(row[1]) for row in rows], shares)


def test_nothing_is_wider_than_the_window(browser: Browser, page: Path) -> None:
    browser.open(page)
    for width in (400, 1280, 1920):
        browser.size(width)
        assert browser.run("return document.documentElement.scrollWidth") == width
    assert browser.run("return document.querySelector('main').getBoundingClientRect().width") >= 1500


def test_the_tab_key_goes_through_the_page_in_order_and_shows_where_it_is(
    browser: Browser, tmp_path: Path
) -> None:
    """From the first link to the last, never back within a section, nothing out of sight, and out at the end."""
    write_encoder_report(made_encoder_study.content(), tmp_path / "page.html")
    browser.open(tmp_path / "page.html")
    focused = """const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
        return e === document.body ? null : [style.outlineStyle, parseFloat(style.outlineWidth), box.bottom > 0 && box.top < innerHeight
        && box.width > 0, [...document.querySelectorAll("a, button, input, select, summary, [tabindex]")].indexOf(e)]"""
    places = []
    for _ in range(200):
        browser.press("Tab")
        found = browser.run(focused)
        if found is None:
            break
        style, width, seen, place = found
        assert style != "none"
        assert width >= 2
        assert seen
        places.append(place)
    assert found is None
    assert len(places) > 40
    assert places == sorted(places)


def test_on_paper_the_answer_the_doubts_and_the_figures_are_left_and_what_needs_a_screen_is_not(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    browser.tell("Emulation.setEmulatedMedia", media="print")
    seen = """return Object.fromEntries(arguments[0].map((name) => [name, [...document.querySelectorAll(name)]
        .filter((e) => e.getBoundingClientRect().height > 0).length]))"""
    kinds = ("#answer .lead", ".doubt", "main svg[role=img]", ".what-if .found table", "#what-if code")
    there = browser.run(seen, kinds)
    gone = browser.run(seen, ("nav", "form", "button[data-copy]", ".saves", ".screen", "#tasks", "#refine"))
    texts = browser.run("return document.querySelector('main').innerText")
    browser.tell("Emulation.setEmulatedMedia", media="")
    assert min(there.values()) > 0
    assert there[".doubt"] == 5
    assert there["main svg[role=img]"] == browser.run(
        "return document.querySelectorAll('main svg[role=img]').length"
    )
    assert set(gone.values()) == {0}
    assert "0123456789abcdef" not in texts
    pdf = base64.b64decode(browser.tell("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"])
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 8


def _audit(folder: Path) -> Path:
    """Return the page of an audit of three made images, one with a finding."""
    record = SimpleNamespace(domain="CT")
    surveys = tuple(
        SimpleNamespace(record=record, name=f"0a1b2c{k}", views=np.full((96, 96), 80 * k, dtype=np.uint8))
        for k in range(3)
    )
    finding = SimpleNamespace(kind="marks", domain="CT", name="0a1b2c1", message="bright letters")
    return write_image_audit(SimpleNamespace(findings=(finding,), surveys=surveys, fitness=()), folder)[-1]


@pytest.mark.slow
@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: make check-pages")
@pytest.mark.parametrize("kind", ["report", "law", "encoders", "audit", "compare"])
def test_axe_finds_nothing_serious(
    kind: str, browser: Browser, page: Path, content: ReportContent, tmp_path: Path
) -> None:
    """Every page with all that is folded open, in both schemes and on a narrow window."""
    path = tmp_path / f"{kind}.html"
    if kind == "report":
        path = page
    elif kind == "law":
        law = content.laws["transfer"]
        write_report(law_content(law, file="law.json"), path)
    elif kind == "encoders":
        write_encoder_report(made_encoder_study.content(), path)
    elif kind == "audit":
        path = _audit(tmp_path)
    else:
        write_comparison(path, study="s", comparison=None, strategies=strategy_tables(content))
    for width, scheme in ((1280, "light"), (400, "dark")):
        browser.size(width)
        browser.scheme(scheme)
        browser.open(path)
        browser.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
        browser.run(AXE.read_text(encoding="utf-8"))
        found = browser.run_until_told(
            "axe.run().then((r) => arguments[0](r.violations.map((v) => [v.impact, v.id, v.nodes.map((n) => n.html.slice(0, 200))])))"
        )
        assert [item for item in found if item[0] in ("serious", "critical")] == []
    browser.scheme("light")
