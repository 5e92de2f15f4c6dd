"""A made study of encoders: laws of scores as they would be found, and all else that its report can show."""

from dataclasses import replace

import numpy as np

from voxmix.probe_tasks import JudgedEncoder
from voxmix.report import EncoderReportContent, Example, RunSummary, SubsetSummary
from voxmix.scaling import Crossing, Limit, Line, Number, Pair, Reference, Scored, ScoreLaws, Series
from voxmix.scaling.parts import INF, Reach

SIZES = (64, 256, 1024)


def series(
    task: str, objective: str, slope: float, *, sure: float = 0.03, outside: bool = False, level: float = 0.3
) -> Series:
    errors = tuple(level * (n / SIZES[0]) ** -slope for n in SIZES)
    ends = (slope - sure, slope + sure)
    doubling = [1 - 2.0**-value for value in (slope, *ends)]
    return Series(
        task=task,
        metric="AUROC",
        outside=outside,
        objective=objective,
        start="rad-dino",
        samples=SIZES,
        seeds=(0, 1),
        errors=errors,
        low=tuple(e * 0.9 for e in errors),
        high=tuple(e * 1.1 for e in errors),
        seed_errors=tuple((e * 0.96, e * 1.04) for e in errors),
        elasticity=Number(value=slope, low=ends[0], high=ends[1]),
        per_doubling=Number(value=doubling[0], low=doubling[1], high=doubling[2]),
        floor=None,
        inverse=slope + sure < 0,
        forgetting=Number(value=0.05, low=0.02, high=0.09)
        if outside
        else Number.unknown("the task is not out of domain"),
        line=Line(
            samples=tuple(float(n) for n in SIZES),
            errors=errors,
            low=tuple(e * 0.93 for e in errors),
            high=tuple(e * 1.07 for e in errors),
        ),
    )


def crossing(task: str, objective: str, number: Number, reach: Reach) -> Crossing:
    return Crossing(
        task=task, objective=objective, start="rad-dino", reference="rad-dino", samples=number, reach=reach
    )


def laws(task: str = "tubes") -> ScoreLaws:
    return ScoreLaws(
        series=(
            series(task, "unicl", 0.2),
            series(task, "dino", 0.01),
            series("findings", "unicl", 0.14),
            series("findings", "dino", 0.05, sure=0.02),
            series("findings at B", "unicl", -0.1, outside=True),
            series("findings at B", "dino", -0.02, outside=True),
        ),
        references=(Reference(task=task, name="rad-dino", error=0.25, low=0.22, high=0.28),),
        crossings=(
            crossing(task, "unicl", Number(value=210, low=150, high=330), "within"),
            crossing(task, "dino", Number(value=INF, low=900, high=INF), "not reached"),
        ),
        pairs=(
            Pair(
                task="findings",
                first="unicl from rad-dino",
                second="dino from rad-dino",
                difference=Number(value=0.09, low=0.05, high=0.13),
                ratio=Number(value=2.8, low=1.6, high=6.1),
                same_law_fits=True,
                data_equivalent=(
                    (64, Number(value=64, low=0, high=190)),
                    (1024, Number(value=INF, low=800, high=INF)),
                ),
            ),
        ),
        limits=(
            Limit(
                task=task,
                objective="unicl",
                start="rad-dino",
                limit="data",
                gain_small=Number(value=0.01, low=-0.02, high=0.04),
                gain_large=Number(value=0.08, low=0.05, high=0.11),
            ),
        ),
        notes=("one run of dino had an alarm",),
    )


def content(**changes: object) -> EncoderReportContent:
    more = JudgedEncoder(
        name="unicl rad-dino 64 x2",
        encoder="a",
        objective="unicl",
        start="rad-dino",
        samples=64,
        compute=2.0,
        control="compute",
    )
    row = np.linspace(0, 1, 12)
    image = np.outer(row, row)
    made = EncoderReportContent(
        study="cxr",
        made="2026-11-28",
        compute="8,192 draws",
        domains={"CENTER-A": 900},
        laws=laws(),
        scored=(
            Scored(
                task="tubes",
                metric="AUROC",
                outside=False,
                judged=more,
                cases=(),
                subjects=(),
                weighted=None,
                score=0.71,
            ),
        ),
        tasks={"tubes": "five lines and tubes, each present or not"},
        subsets=tuple(SubsetSummary(images=n, persons=n // 2, epochs=8192 / n) for n in SIZES),
        runs=(
            RunSummary(
                objective="dino",
                start="rad-dino",
                samples=64,
                done=2,
                planned=2,
                draws=8192,
                seconds=90,
                alarms=("the loss stayed",),
            ),
        ),
        examples=(
            Example(
                task="tube masks",
                image=image,
                case="0a1b",
                report="A tube ends above the carina.",
                generated={"unicl 1,024": "No tube."},
                masks={"tube": image > 0.5},
                predicted={"unicl 1,024": {"tube": image > 0.4}},
                neighbors=(("nearest", image),),
                encoder="unicl 1,024",
            ),
        ),
    )
    return replace(made, **changes)  # type: ignore[arg-type]
