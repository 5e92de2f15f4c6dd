"""Laws of scores as data: kept and read back, and told in sentences."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from voxmix.cli.score_questions import _cells, _samples
from voxmix.errors import InputError
from voxmix.scaling import Crossing, Limit, Line, Number, Pair, Reference, ScoreLaws, Series
from voxmix.scaling.words import reached_text, samples_text

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
        == "For tubes, UniCL with labels beats an untrained network with the smallest size already (64 samples)."
    )
    # What may take more than the smallest size is not said to take no more.
    wide = replace(crossings[1], samples=replace(sure, high=90.0))
    unsure = replace(told, crossings=(crossings[0], wide))
    assert (
        unsure.sentences()[0]
        == "For tubes, UniCL with labels beats an untrained network with at most 90 samples."
    )
    assert reached_text(wide) == "with at most 90 samples"  # in tables, as in sentences
    assert reached_text(crossings[1]) == "with the smallest size already"
    late = replace(
        crossings[1], samples=Number(value=math.nan, low=300.0, high=math.inf), reach="not reached"
    )
    assert (
        "has not beaten an untrained network at 1,024 (though it may from 300 on)"
        in replace(told, crossings=(late,)).sentences()[0]
    )
    # What few samples beat and more do not is said to be so.
    worse = replace(told, series=(replace(one, inverse=True),))
    assert worse.sentences()[0].endswith(
        "with the smallest size already (64 samples), but more make it worse."
    )
    assert worse.rises(crossings[1])
    assert not told.rises(crossings[1])
    assert reached_text(crossings[1], rises=True) == "with the smallest size already, but more make it worse"
    other = replace(crossings[1], reference="weights of others")
    assert "of the error away" in replace(told, crossings=(crossings[0], other)).sentences()[0]


def test_errors_that_rise_are_added_and_many_intervals_are_said_to_be_uncorrected(laws: ScoreLaws) -> None:
    worse = replace(series("findings", "dino"), per_doubling=Number(value=-0.29, low=-0.49, high=-0.13))
    both = replace(laws, series=(series("findings", "clip"), worse), crossings=(), pairs=(), limits=())
    assert both.sentences() == (
        "For findings each doubling of samples takes 9% (6 to 12%) of the error away with CLIP, and adds 29% (13 to 49%) to the "
        "error with DINO.",
    )
    assert laws.sentences()[-1] == (
        "Intervals are not corrected for their number: if more samples changed nothing, about 0.7 of these 7 intervals of 90% "
        "(6 slopes and 1 difference) would leave 0 out by chance."
    )


def test_a_change_that_may_be_chance_is_said_to_be(laws: ScoreLaws) -> None:
    def told(**doublings: Number) -> str:
        own = tuple(replace(series("findings", o), per_doubling=n) for o, n in doublings.items())
        return replace(laws, series=own, crossings=(), pairs=(), limits=()).sentences()[0]

    assert told(
        mae=Number(value=-0.008, low=-0.023, high=0.007), dino=Number(value=0.03, low=0.0, high=0.06)
    ) == (
        "For findings each doubling of samples takes 3% (0 to 6%) of the error away with DINO, and changes the error by +0.8% (-0.7 "
        "to +2.3%) with MAE, which may be chance."
    )
    alone = Number(value=0.04, status="one seed", remedy="a second seed")
    assert told(mae=alone, dino=Number.unknown("two sizes")) == (
        "For findings each doubling of samples takes 4% of the error away with MAE (of one seed, so without an interval); no slope "
        "can be told with DINO."
    )
    assert told(clip=Number.unknown("a"), dino=Number.unknown("b")) == "For findings no slope can be told."


def test_those_of_one_verdict_and_tasks_of_one_answer_are_told_together(laws: ScoreLaws) -> None:
    names = ("clip", "mae", "dino", "unicl")
    reaches = ("unclear", "below", "unclear", "not reached")
    numbers = (
        Number.unknown("wide"),
        Number(value=0, low=0, high=64),
        Number.unknown("wide"),
        Number(value=math.inf),
    )
    tasks = ("tubes", "findings")
    told = replace(
        laws,
        series=tuple(series(task, name) for task in tasks for name in names),
        crossings=tuple(
            replace(crossing(name, number, reach), task=task)  # type: ignore[arg-type]
            for task in tasks
            for name, number, reach in zip(names, numbers, reaches, strict=True)
        ),
        pairs=(),
    )
    assert told.sentences()[0] == (
        "For tubes and findings, whether CLIP or DINO beats open cannot be told, MAE beats open with the smallest size already (64 "
        "samples), and UniCL with labels has not beaten open at 1,024."
    )
    both = replace(
        told, crossings=tuple(replace(c, reach="below", samples=numbers[1]) for c in told.crossings[:2])
    )
    assert "tubes, CLIP and MAE beat open with the smallest size already (64 samples)" in both.sentences()[0]
    late = replace(
        told, crossings=tuple(replace(c, reach="not reached", samples=numbers[3]) for c in told.crossings[:2])
    )
    assert "For tubes, CLIP and MAE have not beaten open at 1,024" in late.sentences()[0]


def test_pairs_of_which_nothing_can_be_told_are_told_in_one_sentence(laws: ScoreLaws) -> None:
    names = ("clip", "dino", "mae")
    unsure, sure = Number(value=0.01, low=-0.04, high=0.06), Number(value=0.09, low=0.02, high=0.16)

    def told(*gaps: Number) -> tuple[str, ...]:
        couples = ((names[0], names[1]), (names[0], names[2]), (names[1], names[2]))
        pairs = tuple(
            Pair(
                task="tubes",
                first=f"{first} from open",
                second=f"{second} from open",
                difference=gap,
                ratio=Number.unknown("wide"),
                same_law_fits=False,
                data_equivalent=(),
            )
            for (first, second), gap in zip(couples, gaps, strict=False)
        )
        own = tuple(series("tubes", name) for name in names)
        return replace(laws, series=own, pairs=pairs, limits=(), crossings=()).sentences()[1:-1]

    assert told(unsure, unsure, unsure) == (
        "Tubes: of no two of CLIP, DINO and MAE can it be told which gains more from samples.",
    )
    assert told(sure, unsure, unsure) == (
        "Tubes: CLIP gains more from samples than DINO.",
        "Tubes: it cannot be told which gains more from samples: CLIP or MAE, DINO or MAE.",
    )
    assert told(unsure) == (
        "Tubes: whether CLIP or DINO gains more from samples cannot be told (difference of elasticities 0.01, -0.04 to 0.06).",
    )


def test_laws_are_kept_with_what_is_missing_and_unbounded(laws: ScoreLaws, tmp_path: Path) -> None:
    laws.save(tmp_path / "scores.json")
    again = ScoreLaws.load(tmp_path / "scores.json")
    assert again.as_dict() == laws.as_dict()
    assert again.pairs == laws.pairs
    assert math.isnan(again.series[0].high[-1])
    assert again.crossings[1].samples.high == math.inf


def test_laws_of_the_former_format_are_read_and_say_what_they_lack(laws: ScoreLaws, tmp_path: Path) -> None:
    from voxmix._io import write_json
    from voxmix.scaling.ask import changes_with, equivalents_with

    former = laws.as_dict() | {"format": 1}
    for one in former["crossings"]:
        del one["line"]
    for one in former["pairs"]:
        del one["between"]
    write_json(tmp_path / "scores.json", former)
    again = ScoreLaws.load(tmp_path / "scores.json")
    tubes, findings = again.series[0], again.series[2]
    for _, number in (*changes_with(again, tubes, 100), *equivalents_with(again, findings, 100)):
        assert "earlier voxmix" in number.status
        assert number.remedy == "voxmix scale"


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


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(value=213.4, low=150, high=333), "213 (150 to 333)"),
        (Number(value=math.inf, low=900, high=math.inf), "beyond the largest size (900 or more)"),
        (Number(value=0, low=0, high=90), "below the smallest size (below the smallest size to 90)"),
        (Number(value=152_345, low=140_000, high=166_000), "152,000 (140,000 to 166,000)"),
        (Number(value=213.4), "213"),
        (Number.unknown("few"), "–"),
    ],
)
def test_numbers_of_samples_are_not_followed_beyond_the_measured(number: Number, text: str) -> None:
    assert samples_text(number) == text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (math.inf, math.inf, "more"),
        (0.0, 0.0, "few"),
        (341.0, math.inf, "341 to more"),
        (math.nan, math.nan, "–"),
    ],
)
def test_an_interval_that_lies_beyond_all_sizes_is_said_once(low: float, high: float, said: str) -> None:
    cells = _cells(Number(value=math.nan, low=low, high=high, status="not within ten times"), _samples)
    assert cells == ["–", said, "not within ten times"]
