"""The data of the figures against the paper's printed tables and the laws; labels that nobody cuts off."""

import base64
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from voxmix.law import FitQuality, FittedLaw, LawParameters
from voxmix.mixture import Mixture
from voxmix.report import ReportContent, drawing, plots, render_report, transfer_drawing
from voxmix.report.axes import round_ticks, short_names, spread
from voxmix.report.curves import curve_panels
from voxmix.report.figures import effective_data, means_data, transfer_data
from voxmix.report.law_sections import curves_section, transfer_section
from voxmix.report.law_tables import disputed_table, transfer_table
from voxmix.report.palette import (
    domain_marks,
    glyph,
    ink_on,
    label_colors,
    short_name,
    strategy_marks,
    text_width,
)
from voxmix.report.pictures import png_uri
from voxmix.report.roles import domain_roles
from voxmix.report.sections import all_sections
from voxmix.report.tables import summary_tables
from voxmix.report.transfer_drawing import draw_transfer, worth_text

PAPER = ("ABD-CT", "ABD-MRI", "BRAIN-T1", "BRAIN-T2", "HN-CT", "HN-PET")
# Recovered from the paper's table 1, which prints [target, source]; here [source, target].
TAU = np.array(
    [
        [1.00, 0.56, 0.24, 0.49, 0.25, 0.04],
        [0.47, 1.00, 0.16, 0.32, 0.14, 0.03],
        [0.32, 0.20, 1.00, 0.26, 0.39, 0.06],
        [0.35, 0.26, 0.22, 1.00, 0.19, 0.03],
        [0.25, 0.14, 0.39, 0.19, 1.00, 0.28],
        [0.04, 0.03, 0.06, 0.03, 0.28, 1.00],
    ]
).T
WEIGHTS = np.array([0.237, 0.05, 0.05, 0.05, 0.05, 0.563])


@pytest.fixture(scope="module")
def paper() -> ReportContent:
    """The paper's transfer and mixture; brain domains that have nearly saturated."""
    law = FittedLaw(
        noise=np.zeros(6),
        domains=PAPER,
        targets=PAPER,
        law="transfer",
        method="two-stage",
        loss="mse",
        parameters=LawParameters.make(
            irreducible_loss=np.array([0.01, 0.01, 0.018, 0.017, 0.01, 0.003]),
            amplitude=np.array([5.0, 9.5, 0.1, 0.1, 8.1, 39.8]),
            exponent=np.array([0.41, 0.49, 0.4, 0.4, 0.44, 0.72]),
            transfer=TAU,
        ),
        budget_range=(5000.0, 100000.0),
        quality=FitQuality(
            r2_target=np.full(6, np.nan),
            r2_pair=np.full((6, 6), np.nan),
            weights=np.empty((0, 6)),
            budget=np.empty(0),
            observed=np.empty((0, 6)),
            predicted=np.empty((0, 6)),
        ),
        status=(),
    )
    mixture = Mixture(domains=PAPER, weights=WEIGHTS)
    return ReportContent(
        study="paper", budget=100000, laws={"transfer": law}, strategies={"transfer-aware": mixture}
    )


def test_effective_budget_is_the_paper_s_tables_1_and_10(paper: ReportContent) -> None:
    data = effective_data(paper, strategy="transfer-aware", law="transfer")
    assert data is not None
    assert data.contributions[0].tolist() == pytest.approx([23700, 11139, 7584, 8295, 5925, 948])
    assert data.total == pytest.approx([33652, 20928, 20212, 18334, 30289, 59248], abs=1)
    assert data.amplification == pytest.approx([1.4, 4.2, 4.0, 3.7, 6.1, 1.1], abs=0.06)


def test_structure_is_the_paper_s_table_9(paper: ReportContent) -> None:
    data = transfer_data(paper, law="transfer")
    # the paper calls the means over a row of its printed (transposed) matrix "outgoing"; its figures are
    # matched with source and target the right way round
    assert data.outgoing == pytest.approx([0.286, 0.238, 0.214, 0.258, 0.254, 0.088], abs=0.006)
    assert data.incoming == pytest.approx([0.316, 0.224, 0.246, 0.21, 0.25, 0.088], abs=0.006)
    assert domain_roles(paper, law="transfer") == ("hub", "", "easy", "easy", "", "island")


def test_cells_of_the_transfer_matrix_are_the_law_s_with_their_intervals(content: ReportContent) -> None:
    law = content.laws["diversity"]
    data = transfer_data(content, law="diversity")
    bounds = law.intervals(0.9)
    assert bounds is not None
    foreign = ~np.eye(6, dtype=bool)
    assert data.transfer.tolist() == law.transfer.tolist()
    assert data.interval[foreign].tolist() == bounds["transfer"][foreign].tolist()
    assert np.isnan(data.interval[~foreign]).all()  # a domain's own transfer is 1 by definition
    page = draw_transfer(data).svg
    shown = Counter(re.findall(r">([^<>]+)</text>", page))
    assert shown["own"] == 6
    for value in law.transfer[foreign].tolist():
        assert shown[worth_text(value).replace("<", "&lt;")] >= 1
    table = transfer_table(data, intervals=True)
    row = dict(zip(table.full_headers, table.rows[1], strict=True))
    assert row["source"] == "from ABD-MRI"
    assert [row["to ABD-CT"], row["to ABD-CT, low"], row["to ABD-CT, high"]] == [
        law.transfer[1, 0],
        *bounds["transfer"][1, 0].tolist(),
    ]


def test_matrices_of_laws_that_disagree_stand_side_by_side(content: ReportContent) -> None:
    law = content.laws["diversity"]
    tau = law.transfer.copy()
    tau[0, 1] /= 300
    other = dataclasses.replace(
        law, law="transfer", parameters=dataclasses.replace(law.parameters, transfer=tau)
    )
    changed = dataclasses.replace(content, laws={"diversity": law, "transfer": other})
    block = transfer_section(changed).blocks[0]
    assert [drawing.name for drawing in block.drawings] == ["transfer-0", "transfer-1"]
    assert transfer_data(changed, law="transfer").disputed.nonzero() == ([0], [1])
    (table,) = [table for table in block.tables if table.name == "transfers-disputed"]
    assert table.rows == (("ABD-CT", "ABD-MRI", law.transfer[0, 1], tau[0, 1]),)
    alone = dataclasses.replace(
        content, laws={"diversity": law, "transfer": dataclasses.replace(law, law="transfer")}
    )
    assert len(transfer_section(alone).blocks[0].drawings) == 1
    assert disputed_table(alone) is None


def test_the_transfer_table_reads_from_source_to_target(paper: ReportContent) -> None:
    table = next(t for t in summary_tables(paper) if t.name.startswith("transfer"))
    row = dict(zip(table.full_headers, table.rows[0], strict=True))
    assert row["source"] == "from ABD-CT"
    assert row["to ABD-MRI"] == 0.47
    assert table.rows[1][1] == 0.56  # from ABD-MRI to ABD-CT


def test_curves_are_the_law_and_points_the_means(content: ReportContent) -> None:
    panels = curve_panels(content, law="diversity")
    law, table = content.laws["diversity"], content.measurements
    assert table is not None
    assert [panel.target for panel in panels] == list(content.domain_names)
    panel = panels[2]
    assert [series.label for series in panel.series] == [*content.domain_names, "uniform"]
    series = panel.series[0]
    here = (table.source == 0) & (table.target_index == 2)
    assert series.loss.tolist() == table.loss[here].tolist()
    mixture = Mixture.pure(content.domain_names, content.domain_names[0])
    assert series.fitted[-1] == pytest.approx(law.predict(mixture, 8000)[2])
    assert panel.grid[-1] == pytest.approx(16000)
    assert panel.fitted_range == (1000, 8000)


def test_curves_of_vertex_runs_have_their_domains_color_and_share(
    content: ReportContent, make_world: Callable[..., Any]
) -> None:
    table = make_world(content.domain_names).table(vertices=True)
    panel = curve_panels(replace(content, measurements=table), law="diversity")[2]
    vertices = panel.series[6:12]
    assert [series.hub for series in vertices] == list(content.domain_names)
    assert vertices[0].label == "ABD-CT 75%, others 5%"
    assert all(len(series.budgets) == 4 for series in vertices)
    drawn = plots.draw_curves(panel, number=2, domains=content.domain_names)
    assert all(f"{name} 75%" in drawn.svg for name in content.domain_names)
    section = curves_section(replace(content, measurements=table))
    assert "Thin: mixtures with most of one domain." in section.blocks[0].caption
    assert "Thin" not in curves_section(content).blocks[0].caption


def test_laws_far_off_do_not_squeeze_the_measured_means(content: ReportContent) -> None:
    data = means_data(content, budget=16000)
    assert data is not None
    low, high = data.axis
    ends = np.concatenate([data.ranking.runs.ravel(), *data.bars])
    assert low < ends.min() < ends.max() < high
    assert data.beyond("naive")
    assert not data.beyond("diversity")


@pytest.mark.parametrize(
    "names", [("CT", "MR"), PAPER, tuple(f"腹部 & {i} " + "wide name " * 4 for i in range(12))]
)
def test_no_label_is_cut_off(make_content, names, monkeypatch) -> None:
    names = tuple(name.strip() for name in names)
    seen: list[str] = []
    cut: list[object] = []

    def checked(figure, *, name, **words):
        finished = original(figure, name=name, **words)
        box = figure.bbox
        for text in figure.findobj(Text):
            drawn = f">{escape(text.get_text(), quote=False)}</text>" in finished.svg  # ticks beyond are not
            if text.get_text() and drawn:
                extent = text.get_window_extent()
                inside = (
                    extent.x0 >= box.x0 - 0.5
                    and extent.x1 <= box.x1 + 0.5
                    and extent.y0 >= box.y0 - 0.5
                    and extent.y1 <= box.y1 + 0.5
                )
                if not inside:
                    cut.append((name, text.get_text(), extent.extents.round().tolist(), box.bounds[2:]))
        seen.append(name)
        return finished

    original = drawing.finish
    monkeypatch.setattr(drawing, "finish", checked)
    monkeypatch.setattr(plots, "finish", checked)
    monkeypatch.setattr(transfer_drawing, "finish", checked)
    page = render_report(make_content(names, seeds=2))
    matrices = [name for name in seen if name.startswith("transfer-")]
    assert len(matrices) in (1, 2)  # of the answer's law, and of the other where the two disagree
    assert len(seen) == len(matrices) + 6 + 3 + len(names)
    assert cut == []
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_drawings_use_the_page_s_colors_and_carry_full_names(content: ReportContent) -> None:
    for section in all_sections(content):
        for block in section.blocks:
            for item in block.drawings:
                assert not re.search(r"#0[1-4]0[1-4]0[1-4]", item.svg)
                assert "var(--ink)" in item.svg
                ids = re.findall(r'\bid="([^"]+)"', item.svg)
                assert all(found.startswith(item.name) for found in ids)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=14).map(np.array),
    st.floats(0.01, 0.07),
)
def test_spread_keeps_gaps_order_and_room(positions: np.ndarray, gap: float) -> None:
    result = spread(positions, gap=gap)
    order = np.argsort(positions, kind="stable")
    assert np.all(np.diff(result[order]) >= gap - 1e-9)
    assert result.min() >= -1e-9
    assert result.max() <= 1 + 1e-9
    if np.all(np.diff(positions[order]) >= gap):
        assert result == pytest.approx(positions)


@given(st.floats(-6, 6), st.floats(0.02, 5))
def test_log_axes_have_ticks_inside(start: float, decades: float) -> None:
    low, high = 10**start, 10 ** (start + decades)
    ticks = round_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert ticks == sorted(ticks)
    assert all(low * 0.96 <= tick <= high * 1.04 for tick in ticks)
    assert len(ticks) >= 3 or decades < 0.35


def test_marks_are_told_apart() -> None:
    marks = domain_marks([f"d{i}" for i in range(24)])
    assert len({(mark.color, mark.hatch) for mark in marks.values()}) == 24
    known = strategy_marks(
        ["uniform", "data-proportional", "transfer-naive", "transfer-aware", "diversity-aware"]
    )
    assert len({mark.marker for mark in known.values()}) == 5
    twelve = strategy_marks([f"own {i}" for i in range(12)]).values()
    assert len({glyph(mark.marker) for mark in twelve}) == 12  # the legend shows what the figure does
    assert known["uniform"] == strategy_marks(["uniform"])["uniform"]


def _light(color: str) -> float:
    """Relative luminance (WCAG 2)."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_domains_and_strategies_share_no_color_on_a_page(content: ReportContent, page: str) -> None:
    """In both schemes: the colors of either are in the page as they are, and no scheme's variable is one of them."""
    domains = {mark.color for mark in domain_marks([f"d{i}" for i in range(60)]).values()}
    names = (*content.strategies, "scratch", "single", "temperature-2", *(f"own {i}" for i in range(40)))
    strategies = {mark.color for mark in strategy_marks(names).values()}
    labels = set(label_colors("abcdefghij"))
    assert not domains & strategies
    assert not labels & (domains | strategies)
    variables = set(re.findall(r"--\w+: (#[0-9a-f]{6})", page))
    assert not {color.lower() for color in domains | strategies | labels} & variables
    for color in strategies:  # grays, which no hue is, seen on the white and on the dark page
        channels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert max(channels) - min(channels) < 24
        assert min((1.05) / (_light(color) + 0.05), (_light(color) + 0.05) / (_light("#14191e") + 0.05)) > 2.9
    for color in domains:
        channels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert max(channels) - min(channels) > 60
    first = page[page.index('<section id="checks"') : page.index('<section id="next"')].lower()
    assert not [color for color in domains if color.lower() in first]  # strategies only
    shares = page[page.index('<section id="strategies"') : page.index('<section id="regime"')].lower()
    assert not [color for color in strategies if color.lower() in shares]  # domains only


def test_ink_is_the_better_of_black_and_white() -> None:
    assert ink_on("#FFFFFF") == ink_on("#E69F00") == "#000000"
    assert ink_on("#000000") == ink_on("#00406B") == "#ffffff"


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=64), st.integers(5, 30))
def test_short_names_fit(name: str, width: int) -> None:
    assert text_width(short_name(name, width=width)) <= max(width, 5)
    assert len(name) < 5 or short_name(name, width=64 * 2) == name


def test_names_that_would_become_equal_keep_their_number() -> None:
    names = ["very long name of a domain A end", "very long name of a domain B end"]
    assert len(set(short_names(names, width=12))) == 2


def test_slices_stand_upright() -> None:
    values = np.zeros((3, 2))
    values[2, 0], values[0, 1] = 1.0, np.nan
    uri = png_uri(values)
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))
    assert image.tolist() == [[0, 0, 0], [0, 0, 255]]  # first axis right, second up; NaN black
