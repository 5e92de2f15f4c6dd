"""Every law of the family against measured mixtures that it was not fitted to.

    python benchmarks/law_bank.py FOLDER [--json FILE]

FOLDER holds tables as voxmix reads them (CSV) with one more column, ``kind``: pure, anchor and vertex runs are
fitted, runs of kind test are predicted. This judges by the test rows, so it must never choose anything: no law, no
weight, no start, no constant. Whatever is chosen by these figures is no longer judged by them. What voxmix chooses, it
chooses by holding out some of the other rows (docs/concepts/law.md).

The guess to beat is that every mixture does what the uniform one was measured to do at that budget. Figures are those of
``voxmix.scores.judge_law``: regret is how much worse the law's choice is than the best mixture, both as measured; a
relative loss is over that of uniform.
"""

import argparse
import csv
import json
import time
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from voxmix import FittedLaw, MeasurementTable, fit
from voxmix.errors import InputError
from voxmix.law import law_forms
from voxmix.scores.forecast import GUESS, Forecast, judge_as_uniform, judge_law, measured_of

DESIGNS = {
    "pure + anchor": ("pure", "anchor"),
    "vertex + anchor": ("vertex", "anchor"),
    "all": ("pure", "vertex", "anchor"),
}
TEST = "test"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How one law, fitted to one design of one table, predicts the test mixtures (voxmix.scores.forecast says each figure).

    NaN where there is nothing to say: a guess has no order, one seed no noise.
    """

    table: str
    design: str
    law: str
    level: float
    error: float
    kendall: float
    kendall_noise: float
    kendall_relative: float
    regret: float
    regret_relative: float
    seconds: float
    chosen: str = ""
    refused: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, help="write every figure there too")
    parser.add_argument("--laws", nargs="*", help="some laws only; auto is one")
    parser.add_argument("--seed", default="0", help="of the runs that are fitted and judged: a seed, or all")
    options = parser.parse_args()
    tables = [path for path in sorted(options.folder.glob("*.csv")) if "kind" in header(path)]
    if not tables:
        print(
            f"left out: no table with a column kind in {options.folder}; make bench-bank BANK=FOLDER names another"
        )
        return
    judged = [row for path in tables for row in judge_table(path, options.laws, options.seed)]
    print(
        f"Runs of seed {options.seed}; joint fits by relative Huber loss, `transfer, two-stage` as the paper does it."
    )
    for table, design in dict.fromkeys((row.table, row.design) for row in judged):
        print_rows(table, design, [row for row in judged if (row.table, row.design) == (table, design)])
    print_auto(judged)
    if options.json:
        options.json.write_text(
            json.dumps([asdict(row) for row in judged], indent=1).replace("NaN", "null"), encoding="utf-8"
        )


def header(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as stream:
        return next(csv.reader(stream), [])


def read(path: Path, seed: str) -> tuple[MeasurementTable, np.ndarray]:
    """Return the losses of a seed (or all), and the kind of run of each."""
    with path.open(encoding="utf-8") as stream:
        kinds = {row["run"]: row["kind"] for row in csv.DictReader(stream)}
    table = MeasurementTable.read_csv(path)
    if seed != "all":
        table = table.select(table.seed == int(seed))
    return table, np.array([kinds[run] for run in table.run])


def judge_table(path: Path, wanted: list[str] | None, seed: str) -> list[Judged]:
    table, kinds = read(path, seed)
    test = table.select(kinds == TEST)
    if not len(test):
        print(f"left out: {path.name} has no rows of kind {TEST} and seed {seed}")
        return []
    runs = [("transfer, two-stage", "transfer", "two-stage", "mse")]
    runs += [(form.name, form.name, "joint", "relative-huber") for form in law_forms()]
    runs += [("auto", "auto", "two-stage", "mse")]
    found = []
    for design, of_kinds in DESIGNS.items():
        fitted = table.select(np.isin(kinds, of_kinds))
        if not all(np.any(kinds == kind) for kind in of_kinds):
            continue
        found.append(judge(path.stem, design, GUESS, judge_as_uniform(measured_of(test)), 0.0))
        for name, law, method, loss in runs:
            if wanted and law not in wanted:
                continue
            start = time.perf_counter()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    made = fit(fitted, law=law, method=method, loss=loss)
            except InputError as error:
                found.append(refused(path.stem, design, name, str(error)))
                continue
            seconds = time.perf_counter() - start
            chosen = f"{made.law} ({made.method}, {made.loss})" if law == "auto" else ""
            found.append(judge(path.stem, design, name, judge_law(made, test), seconds, chosen))
    return found


def predicted(law: FittedLaw, test: MeasurementTable) -> np.ndarray:
    """Return the law's loss for each row, for its seed where the fit knows it; NaN for what is no target of it."""
    losses = np.full(len(test), np.nan)
    for budget in np.unique(test.budget):
        rows = np.flatnonzero(test.budget == budget)
        guess = law.evaluate(test.weights[rows], float(budget))
        for k, row in enumerate(rows):
            if test.target[row] in law.targets:
                losses[row] = guess[k, law.targets.index(test.target[row])]
    return losses * np.exp(law.seed_effects.of(test.seed))


def judge(
    table: str, design: str, law: str, item: Forecast | None, seconds: float, chosen: str = ""
) -> Judged:
    """Return the figures of one law; of a guess that cannot be made, none."""
    if item is None or not item.decisions:
        return refused(table, design, law, "it says nothing of these mixtures")
    plain, relative = item.by("mean"), item.by("relative")
    return Judged(
        table=table,
        design=design,
        law=law,
        level=plain.level,
        error=item.mean_error,
        kendall=plain.kendall,
        kendall_noise=plain.kendall_noise,
        kendall_relative=relative.kendall,
        regret=plain.regret,
        regret_relative=relative.regret,
        seconds=seconds,
        chosen=chosen,
    )


def refused(table: str, design: str, law: str, why: str) -> Judged:
    nothing = {field.name: float("nan") for field in fields(Judged) if field.type is float}
    return Judged(table=table, design=design, law=law, **nothing, refused=why)


def print_rows(table: str, design: str, rows: list[Judged]) -> None:
    print(f"\n**{table}, fitted on {design}**\n")
    print("| law | level of the mean | error per mixture and target | Kendall, mean | Kendall, mean of relative losses | "
          "regret, mean | regret, relative | s |")  # fmt: skip
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        if row.refused:
            print(f"| {row.law} | refused: {row.refused.split(';')[0]} | | | | | | |")
            continue
        name = f"{row.law}: {row.chosen}" if row.chosen else row.law
        order = number(row.kendall) + (
            f" ± {row.kendall_noise:.2f}" if row.kendall_noise == row.kendall_noise else ""
        )
        print(f"| {name} | {row.level:+.1%} | {row.error:.1%} | {order} | "
              f"{number(row.kendall_relative)} | {row.regret:.1%} | {row.regret_relative:.1%} | "
              f"{row.seconds:.1f} |")  # fmt: skip


def number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def print_auto(judged: list[Judged]) -> None:
    """Print how far auto ends from the law of least error, which nobody knows without the test rows."""
    lines = []
    for table, design in dict.fromkeys((row.table, row.design) for row in judged):
        rows = [row for row in judged if (row.table, row.design) == (table, design) and not row.refused]
        auto = next((row for row in rows if row.law == "auto"), None)
        members = [row for row in rows if row.law not in ("auto", GUESS)]
        if auto and members:
            best = min(members, key=lambda row: row.error)
            lines.append(f"| {table} | {design} | {auto.chosen} {auto.error:.1%} | {best.law} {best.error:.1%} | "
                         f"{auto.error / best.error:.2f} |")  # fmt: skip
    if lines:
        print(
            "\n**auto against its best member**\n\n| table | fitted on | auto | best | ratio |\n|---|---|---|---|---:|"
        )
        print("\n".join(lines))


if __name__ == "__main__":
    main()
