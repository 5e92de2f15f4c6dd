"""Reports of many domains: what is drawn and shown is limited, what can be downloaded is whole."""

import csv
import io
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest

from voxmix.report import ReportContent, curves, document, render_report
from voxmix.report.curves import MOST_SERIES, curve_panels, drawn_panels
from voxmix.report.law_sections import curves_section
from voxmix.report.law_tables import curve_table, loss_table
from voxmix.report.lean_svg import lean_svg
from voxmix.report.sections import all_sections
from voxmix.report.table import Column, Table

NAMES = tuple(f"D{k:02d}" for k in range(18))


@pytest.fixture(scope="module")
def many(make_world) -> ReportContent:
    world = make_world(NAMES)
    return ReportContent(
        study="many", made="today", budget=16000, domains=world.summaries(), measurements=world.table()
    )


def test_series_hold_the_means_of_their_own_rows(many):
    """Against the plain definition, row by row."""
    table = many.measurements
    twice = replace(
        table.select(table.budget == 1000), run=tuple(f"{run} again" for run in table.run if "-1000" in run)
    )
    table = table.concatenate([table, replace(twice, seed=twice.seed + 1, loss=1.1 * twice.loss)])
    panels = curve_panels(replace(many, measurements=table), law=None)
    assert [panel.target for panel in panels] == list(NAMES)
    for panel in panels[::5]:
        assert len(panel.series) == len(NAMES) + 1
        for series in panel.series:
            here = [
                row
                for row in range(len(table))
                if table.target[row] == panel.target
                and np.allclose(table.weights[row], series.mixture.weights)
            ]
            for budget, loss in zip(series.budgets, series.loss, strict=True):
                own = [table.loss[row] for row in here if table.budget[row] == budget]
                assert len(own) == (2 if budget == 1000 else 1)
                assert loss == pytest.approx(np.mean(own), rel=1e-12)


def test_a_panel_draws_its_own_runs_mixtures_and_what_ends_lowest_and_its_table_has_all(many):
    panels = curve_panels(many, law=None)
    for panel in panels:
        drawn = panel.drawn
        assert len(drawn) == MOST_SERIES < len(panel.series)
        names = [series.source for series in drawn]
        assert panel.target in names
        assert None in names
        left = [series for series in panel.series if series not in drawn]
        shown = [series for series in drawn if series.source not in (None, panel.target)]
        assert max(series.loss[-1] for series in shown) <= min(series.loss[-1] for series in left)
    assert len(curve_table(panels).rows) == len(NAMES) * (len(NAMES) + 1) * 4
    block = curves_section(many).blocks[0]
    assert f"Of {len(NAMES) + 1} mixtures each panel shows {MOST_SERIES}" in block.caption


def test_of_many_targets_those_are_drawn_that_the_law_fits_worst(many, monkeypatch):
    monkeypatch.setattr(curves, "MOST_PANELS", 4)
    panels = curve_panels(many, law=None)
    assert [panel.target for panel in drawn_panels(panels)] == list(NAMES[:4])
    factor = {
        name: 1.3 if name in ("D03", "D08") else 0.6 if name in ("D11", "D17") else 1.1 for name in NAMES
    }
    fitted = [
        replace(panel, series=tuple(replace(s, fitted=s.loss * factor[panel.target]) for s in panel.series))
        for panel in panels
    ]
    assert [panel.target for panel in drawn_panels(fitted)] == ["D03", "D08", "D11", "D17"]
    block = curves_section(many).blocks[0]
    assert len(block.drawings) == 4
    assert f"Of {len(NAMES)} targets 4 are drawn, the first; the table has all." in block.caption
    assert len(block.tables[0].rows) == len(NAMES) * (len(NAMES) + 1) * 4


def test_losses_of_pure_runs_are_means_at_the_largest_budget(many):
    table = many.measurements
    rows = loss_table(many).rows
    for i, row in enumerate(rows):
        for j, value in enumerate(row[1:]):
            here = (table.source == i) & (table.target_index == j) & (table.budget == 8000)
            assert value == pytest.approx(table.loss[here].mean(), rel=1e-12)


def test_a_long_table_shows_its_first_rows_and_its_csv_has_all(many):
    page = render_report(many)
    rows = len(NAMES) * (len(NAMES) + 1) * 4
    assert rows > document._MOST_ROWS
    assert f"These are the first {document._MOST_ROWS} of {rows:,} rows; the CSV has all." in page
    link = page.split('download="losses-fits.csv" href="data:text/csv;charset=utf-8,')[1].split('"')[0]
    assert len(list(csv.reader(io.StringIO(unquote(link))))) == rows + 1
    short = Table(name="t", title="t", columns=(Column(name="a"),), rows=tuple((str(k),) for k in range(9)))
    assert short.text_rows(3) == (("0",), ("1",), ("2",))
    assert len(short.text_rows()) == 9


def test_a_page_grows_by_what_it_shows(make_world, make_content):
    """Of 18 domains: no figure of one is larger than 160 kB, whatever marks its domains have."""
    sections = all_sections(make_content(NAMES, seeds=1))
    sizes = {
        drawing.name: len(drawing.svg)
        for section in sections
        for block in section.blocks
        for drawing in block.drawings
    }
    assert len(sizes) > len(NAMES)
    assert max(sizes.values()) < 160_000, max(sizes.items(), key=lambda item: item[1])


@pytest.mark.parametrize(
    ("wide", "short"),
    [
        ('<path d="M 1.234567 2 \nL -0.001 4.5 \nz\n" style="fill: none; stroke: red"/>',
         '<path d="M1.23 2L0 4.5z" style="fill:none;stroke:red"/>'),
        ('<g id="a">\n<g id="b"/>\n</g>\n<g id="c">\n<use xlink:href="#d" x="1.500000" y="2"/>\n</g>',
         '<g><use xlink:href="#d" x="1.5" y="2"/></g>'),
        ('<text x="1" y="2" transform="rotate(-0 1 2)">n = 0.123456, d="M 1"</text>',
         '<text x="1" y="2">n = 0.123456, d="M 1"</text>'),
        ('<text x="1" transform="rotate(-45 1.234567 2)">a: b</text>',
         '<text x="1" transform="rotate(-45 1.23 2)">a: b</text>'),
        ('<path d="M 0 0 L 1 1" style="fill: none"/><path d="M 0 0 L 1 1" style="fill: blue"/>',
         '<path d="M0 0L1 1" style="fill:blue"/>'),
        ('<path id="m" d="M 0 0"/><use xlink:href="#m"/><g clip-path="url(#q)"/><clipPath id="q"/>',
         '<path id="m" d="M0 0"/><use xlink:href="#m"/><g clip-path="url(#q)"/><clipPath id="q"/>'),
    ],
)  # fmt: skip
def test_a_drawing_is_the_same_in_fewer_bytes(wide, short):
    assert lean_svg(wide, "one") == short


def test_a_style_of_many_parts_is_written_once():
    part = '<path d="M0 0L1 {k}" style="fill:none;stroke:{color}"/>'
    svg = "".join(part.format(k=k, color="red" if k % 8 else "var(--ink)") for k in range(16))
    found = lean_svg(svg, "one")
    assert found.startswith("<style>.one-0{fill:none;stroke:red}</style>")
    assert found.count('class="one-0"') == 14
    assert found.count('style="fill:none;stroke:var(--ink)"') == 2


def test_a_long_line_keeps_its_shape():
    """Every point left out lies within 0.1 units of the line between those that stay; a straight line keeps its ends."""
    x = np.linspace(0, 100, 60)
    for y in (80 * np.exp(-x / 20), 0.5 * x, np.where(x < 50, 0.0, 30.0), np.sin(x / 5)):
        points = "\nL ".join(f"{a:.6f} {b:.6f}" for a, b in zip(x, y, strict=True))
        found = lean_svg(f'<path d="M {points}\n" style="fill: none; stroke: red"/>', "one")
        kept = np.array([pair.split() for pair in found.split('"')[1][1:].split("L")], dtype=float)
        assert np.abs(np.interp(x, kept[:, 0], kept[:, 1]) - y).max() < 0.2
        assert kept[[0, -1]] == pytest.approx(np.array([[x[0], y[0]], [x[-1], y[-1]]]), abs=0.01)
        assert len(kept) < 40
    assert lean_svg(f'<path d="M {points}\nz" style="fill: blue"/>', "one").count("L") == 59
