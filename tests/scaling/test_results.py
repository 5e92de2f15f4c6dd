"""Laws of scores as data: kept and read back, and told in sentences."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from voxmix.errors import InputError
from voxmix.scaling import Crossing, Limit, Line, Number, Pair, Reference, ScoreLaws, Series

FALL = Number(value=0.09, low=0.06, high=0.12)


def series(task: str, objective: str, *, outside: bool = False, inverse: bool = False) -> Series:
    return Series(
        task=task,
        metric="AUROC",
        outside=outside,
        objective=objective,
        start="open",
        samples=(64, 256, 1024),
        seeds=(0, 1),
        errors=(0.4, 0.35, 0.3),
        low=(0.39, 0.34, 0.29),
        high=(0.41, 0.36, math.nan),
        seed_errors=((0.4, 0.4), (0.35, 0.35), (0.3, 0.3)),
        elasticity=Number(value=0.1, low=0.05, high=0.15),
        per_doubling=FALL,
        floor=None,
        inverse=inverse,
        forgetting=Number(value=0.02, low=0.01, high=0.03),
        line=Line(samples=(64.0, 1024.0), errors=(0.4, 0.3), low=(0.39, 0.29), high=(0.41, 0.31)),
    )


def crossing(objective: str, samples: Number, reach: str) -> Crossing:
    return Crossing(
        task="tubes",
        objective=objective,
        start="open",
        reference="open",
        samples=samples,
        reach=reach,  # type: ignore[arg-type]
    )


@pytest.fixture
def laws() -> ScoreLaws:
    return ScoreLaws(
        series=(
            series("tubes", "unicl"),
            series("tubes", "dino"),
            series("findings", "clip"),
            series("findings", "dino"),
            series("center B", "clip", outside=True, inverse=True),
            series("center B", "dino", outside=True, inverse=True),
        ),
        references=(Reference(task="tubes", name="open", error=0.37, low=0.36, high=0.38),),
        crossings=(
            crossing("unicl", Number(value=210.0, low=150.0, high=330.0), "within"),
            crossing(
                "dino",
                Number(value=math.nan, low=math.inf, high=math.inf, status="not beaten"),
                "not reached",
            ),
        ),
        pairs=(
            Pair(
                task="findings",
                first="clip from open",
                second="dino from open",
                difference=Number(value=0.1, low=0.05, high=0.15),
                ratio=Number(value=3.0, low=2.0, high=5.0),
                same_law_fits=True,
                data_equivalent=((64, Number(value=200.0, low=0.0, high=math.inf)),),
            ),
        ),
        limits=(
            Limit(
                task="tubes",
                objective="dino",
                start="open",
                limit="compute",
                gain_small=Number(value=0.0, low=-0.02, high=0.02),
                gain_large=FALL,
            ),
        ),
        notes=("a note",),
    )


def test_the_headline_answers_which_objective_and_how_many_samples(laws: ScoreLaws) -> None:
    assert laws.sentences()[0] == (
        "For tubes, UniCL with labels needs 210 (150 to 330) samples to beat open, and DINO has not beaten open at 1,024; "
        "for findings each doubling of samples takes 9% (6 to 12%) of the error away with CLIP and 9% (6 to 12%) with DINO; "
        "out of domain, on center B, both get worse with more samples."
    )
    text = "\n".join(laws.sentences()[1:])
    assert "no ratio of exponents" in text
    assert "limited by compute" in text
    assert "CLIP forgot" in text


def test_the_headline_speaks_of_what_runs_from_scratch_began_from(laws: ScoreLaws) -> None:
    one = replace(series("tubes", "unicl"), start="scratch")
    sure = Number(value=math.nan, low=0.0, high=0.0)
    crossings = tuple(
        Crossing(
            task="tubes", objective="unicl", start="scratch", reference=name, samples=number, reach=reach
        )  # type: ignore[arg-type]
        for name, number, reach in (
            ("chest films", Number(value=210.0, low=150.0, high=330.0), "within"),
            ("untrained", sure, "below"),
        )
    )
    told = replace(laws, series=(one,), crossings=crossings, pairs=(), limits=())
    assert (
        told.sentences()[0]
        == "For tubes, UniCL with labels beats untrained with the smallest size already, 64."
    )
    # What may take more than the smallest size is not said to take no more.
    wide = replace(crossings[1], samples=replace(sure, high=90.0))
    unsure = replace(told, crossings=(crossings[0], wide))
    assert unsure.sentences()[0] == "For tubes, UniCL with labels beats untrained with at most 90 samples."
    late = replace(
        crossings[1], samples=Number(value=math.nan, low=300.0, high=math.inf), reach="not reached"
    )
    assert (
        "has not beaten untrained at 1,024, though it may from 300 on"
        in replace(told, crossings=(late,)).sentences()[0]
    )
    other = replace(crossings[1], reference="weights of others")
    assert "of the error away" in replace(told, crossings=(crossings[0], other)).sentences()[0]


def test_errors_that_rise_are_added_and_many_intervals_are_said_to_be_uncorrected(laws: ScoreLaws) -> None:
    worse = replace(series("findings", "dino"), per_doubling=Number(value=-0.29, low=-0.49, high=-0.13))
    both = replace(laws, series=(series("findings", "clip"), worse), crossings=(), pairs=(), limits=())
    assert both.sentences() == (
        "For findings each doubling of samples takes 9% (6 to 12%) of the error away with CLIP, and adds 29% (13 to 49%) to the "
        "error with DINO.",
    )
    assert "about 0.7 of these 6 slopes and 1 differences" in laws.sentences()[-1]


def test_laws_are_kept_with_what_is_missing_and_unbounded(laws: ScoreLaws, tmp_path: Path) -> None:
    laws.save(tmp_path / "scores.json")
    again = ScoreLaws.load(tmp_path / "scores.json")
    assert again.as_dict() == laws.as_dict()
    assert again.pairs == laws.pairs
    assert math.isnan(again.series[0].high[-1])
    assert again.crossings[1].samples.high == math.inf


def test_a_file_of_another_kind_or_a_damaged_one_is_refused(laws: ScoreLaws, tmp_path: Path) -> None:
    from voxmix._io import write_json

    path = tmp_path / "scores.json"
    write_json(path, {"kind": "law", "format": 1})
    with pytest.raises(InputError, match="score laws"):
        ScoreLaws.load(path)
    value = laws.as_dict()
    del value["series"][0]["elasticity"]
    write_json(path, value)
    with pytest.raises(InputError, match="damaged"):
        ScoreLaws.load(path)


def test_no_series_and_unclear_numbers_have_sentences_too(laws: ScoreLaws) -> None:
    assert "three sizes" in ScoreLaws(series=()).sentences()[0]
    unsure = replace(laws, crossings=(crossing("unicl", Number.unknown("wide"), "unclear"),))
    assert "cannot be told" in unsure.sentences()[0]
