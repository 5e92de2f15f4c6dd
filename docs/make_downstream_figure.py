"""Draw docs/images/downstream-learning.png: validation scores while finetuning, per task and initialization.

python docs/make_downstream_figure.py STUDY [TARGET.png]
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from voxmix.report.palette import strategy_marks
from voxmix.report.score_figures import learning_data
from voxmix.scores import ScoreTable, compare

COLUMNS = 3


def main(study: Path, target: Path) -> None:
    comparison = compare(ScoreTable.read(study / "downstream"))
    found = [learning_data(comparison, task=task) for task in comparison.table.tasks]
    items = [item for item in found if item is not None]
    inits = tuple(dict.fromkeys(init for item in items for init in item.inits))
    marks = strategy_marks(inits)
    rows = -(-len(items) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(10, 2.9 * rows), squeeze=False, layout="constrained")
    for place, item in zip(axes.flat, items, strict=False):
        runs = {run.init: run for run in comparison.table.select(item.task) if run.control is None}
        for init, mean, seeds in zip(item.inits, item.mean, item.seeds, strict=True):
            color, run = marks[init].color, runs[init]
            draws = item.steps * (run.draws or 0) / item.steps.max()
            place.plot(draws, seeds.T, color=color, linewidth=0.6, alpha=0.4)
            place.plot(draws, mean, color=color, marker=marks[init].marker, markersize=4, label=init)
        place.set_title(item.task, fontsize=10, loc="left")
        place.set_xlabel("draws")
        place.set_ylabel("accuracy" if runs[item.inits[0]].kind == "classification" else "mean Dice")
        place.spines[["top", "right"]].set_visible(False)
    for place in axes.flat[len(items) :]:
        place.axis("off")
    handles = [plt.Line2D([], [], color=marks[i].color, marker=marks[i].marker, label=i) for i in inits]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(inits), frameon=False)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    here = Path(__file__).parent / "images" / "downstream-learning.png"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else here)
