"""The report of an encoder study, of made laws: what is said, what is never said, escaped, the same bytes again."""

import base64
import html
import io
import re
from dataclasses import replace

import numpy as np
from made_encoder_study import content, laws, series

from voxmix.report import (
    EncoderReportContent,
    Example,
    render_encoder_report,
)
from voxmix.report.encoder_figures import doublings_data
from voxmix.report.encoder_sections import GENERATED
from voxmix.report.encoder_tables import grid_table
from voxmix.scaling import Number, ScoreLaws


def text_of(page: str) -> str:
    """Return what is read, without SVG, style and scripts."""
    page = re.sub(r"<(svg|style|script).*?</\1>", " ", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_the_headline_is_the_laws_first_sentence() -> None:
    found = text_of(render_encoder_report(content()))
    assert "UniCL with labels needs 210 (150 to 330) samples to beat rad-dino" in found
    assert "DINO has not beaten rad-dino at 1,024" in found
    assert found.index("UniCL with labels needs") < found.index("In detail")


def test_the_same_content_gives_the_same_bytes() -> None:
    assert render_encoder_report(content()) == render_encoder_report(content())


def test_the_page_asks_for_nothing_and_names_are_escaped() -> None:
    page = render_encoder_report(
        content(study="<script>alert(1)</script>", laws=laws(task="<img src=x onerror=y>"))
    )
    scripts = re.findall(r"<script[^>]*>", page)
    values = scripts.count('<script type="application/json">')
    assert values == page.count('<div class="plot"')
    assert scripts.count('<script type="application/json" id="what-if-data">') == 1
    assert len(scripts) == values + 2
    assert scripts[-1] == "<script>"
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert not re.findall(r'(?:src|href)="https?:', page)
    assert "default-src 'none'" in page


def test_generated_text_is_marked_wherever_it_stands() -> None:
    found = text_of(render_encoder_report(content()))
    places = [match.start() for match in re.finditer(r"No tube\.", found)]
    assert places
    assert all(GENERATED in found[place - len(GENERATED) - 40 : place] for place in places)


def picture(page: str, label: str) -> np.ndarray:
    """Return the pixels of the picture below which a text stands."""
    from PIL import Image

    (code,) = re.findall(
        rf'src="data:image/png;base64,([^"]+)"[^>]*><small>{re.escape(label)}</small>', html.unescape(page)
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGB"))


def test_masks_are_outlined_as_known_and_as_each_encoder_found_them() -> None:
    image = np.full((80, 160), 0.5)
    known, found = np.zeros((80, 160), dtype=bool), np.zeros((80, 160), dtype=bool)
    known[10:30, 20:50], found[40:70, 100:150] = True, True
    example = Example(
        task="masks", image=image, case="a", masks={"tube": known}, predicted={"untrained": {"tube": found}}
    )
    page = render_encoder_report(content(examples=(example,)))
    seen = picture(page, "found with untrained").astype(int)
    assert seen.shape == (160, 320, 3)  # enlarged twice
    colored, dashed = seen.max(2) != seen.min(2), np.isin(seen, (0, 255)).all(2)
    for drawn, mask in ((colored, found), (dashed & ~colored, known)):
        large = np.kron(mask, np.ones((2, 2), dtype=bool))
        rows, columns = np.nonzero(large)
        inner = np.zeros_like(large)
        inner[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1] = True
        assert np.array_equal(drawn, large & ~inner)
    ground = picture(page, "known").astype(int)
    assert np.array_equal(
        (ground.max(2) != ground.min(2)), dashed & ~colored
    )  # the same outline, in the mask's color
    assert "black and white: as known" in page
    bare = render_encoder_report(content(examples=(Example(task="captions", image=image, case="a"),)))
    assert "<small>known</small>" not in bare
    assert "found with" not in bare


def test_what_cannot_be_told_is_not_told() -> None:
    unsure = series("tubes", "clip", 0.01, sure=0.05)
    unknown = replace(
        unsure,
        task="findings",
        per_doubling=Number.unknown("two sizes", "give a third size"),
        elasticity=Number.unknown("two sizes", "give a third size"),
    )
    few = ScoreLaws(series=(unsure, unknown))
    cells = dict(zip(("tubes", "findings"), (row[1] for row in grid_table(few).rows), strict=True))
    assert str(cells["tubes"]).startswith("·")
    assert cells["findings"] == "· –"
    found = text_of(render_encoder_report(content(laws=few)))
    assert "Give a third size." in found
    assert "nan" not in found.lower().replace("finance", "")


def test_an_empty_study_says_what_to_do_next() -> None:
    found = text_of(
        render_encoder_report(EncoderReportContent(study="cxr", no_laws="Two sizes, three are needed."))
    )
    assert "Two sizes, three are needed. Next: voxmix study run" in found
    assert "No encoder has been judged yet. Next: voxmix probe" in found


def test_many_tasks_have_a_short_lead_and_drawings_that_fit_a_page() -> None:
    names = [f"label {number}" for number in range(14)]
    many = tuple(series(name, o, 0.02 * k) for k, name in enumerate(names) for o in ("clip", "dino", "mae"))
    told = ScoreLaws(series=many)
    parts = doublings_data(told)
    assert [row for part in parts for row in part.rows] == [(s.task, s.name, s.per_doubling) for s in many]
    assert len({part.reach for part in parts}) == 1
    assert all(len(part.rows) <= 20 for part in parts)
    owners = [{task for task, *_ in part.rows} for part in parts]
    assert sum(map(len, owners)) == len(names)  # no task is torn
    page = render_encoder_report(content(laws=told))
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', page)
    assert len(lead) < 500
    headline = told.sentences()[0].lower()
    found = text_of(page).lower()
    assert all(part.rstrip(".") in found for part in headline.split("; "))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert doublings_data(ScoreLaws(series=())) == ()
