"""The flagship study: seven real domains, three shared seeds, mixtures at twice the largest fitted budget.

    python benchmarks/study_real.py VOLUMES [--study FOLDER] [--up-to STEP]

VOLUMES is a folder with a folder of volumes per domain. The settings stand in study_real.yaml beside this file: proxy
and budgets were chosen by the regime check on training persons alone (docs/studies/flagship.md). Training takes hours;
killed or stopped at any moment, the same command goes on. Once the mixtures are trained, every law is judged by them as
in law_bank.py: the study's runs are written as a table with a column ``kind`` to FOLDER/bank.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from voxmix import Study
from voxmix.runs import measurements
from voxmix.study import StudyView

HERE = Path(__file__).resolve().parent
STEPS = ["prepare", "run", "fit", "refine", "allocate", "pretrain", "report"]
KIND_OF = {"pure runs": "pure", "vertex runs": "vertex", "anchors": "anchor"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volumes", type=Path)
    parser.add_argument("--study", type=Path, default=Path("study-real"))
    parser.add_argument("--up-to", default="report", help=f"last step: {', '.join(STEPS)}")
    options = parser.parse_args()
    begin(options.study, options.volumes)
    for step in steps_up_to(options.up_to):
        subprocess.run([sys.executable, "-m", "voxmix", step, str(options.study)], check=True)
    if options.up_to not in ("pretrain", "report"):
        return
    subprocess.run([sys.executable, "-m", "voxmix", "compare", str(options.study), "--markdown"], check=True)
    view = StudyView(Study.open(options.study))
    table = write_bank(view, options.study / "bank" / "flagship.csv")
    subprocess.run(
        [sys.executable, str(HERE / "law_bank.py"), str(table.parent), "--seed", "all"], check=True
    )


def begin(study: Path, volumes: Path) -> None:
    """Write the study file, unless the study was begun before."""
    if (study / "study.yaml").exists():
        return
    if not volumes.is_dir():
        raise SystemExit(f"no folder {volumes}; give one with a folder of volumes per domain (VOLUMES=...)")
    study.mkdir(parents=True, exist_ok=True)
    text = (HERE / "study_real.yaml").read_text(encoding="utf-8")
    (study / "study.yaml").write_text(text.replace("VOLUMES", str(volumes.resolve())), encoding="utf-8")


def steps_up_to(last: str) -> list[str]:
    if last not in STEPS:
        raise SystemExit(f"no step {last!r}; choose from {', '.join(STEPS)}")
    return STEPS[: STEPS.index(last) + 1]


def write_bank(view: StudyView, path: Path) -> Path:
    """Write the losses of every finished run, with its kind; the mixtures at the allocated budget are of kind test."""
    groups = {KIND_OF[kind]: specs for kind, specs in view.proxies_by_kind.items()} | {"test": view.checks}
    rows = [
        {"kind": kind, **row}
        for kind, specs in groups.items()
        for row in measurements(view.results(specs), view.domains, view.targets).to_rows()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


if __name__ == "__main__":
    main()
