"""Do studies of encoders find what is known to be true? Made radiographs with planted truths, judged on fresh persons.

    python benchmarks/known_answers.py --out STUDIES

truths: clip, unicl, dino and mae at equal compute, five seeds. A wide drain is on three films of ten; the labels have it, no report
does: unicl must beat clip on it, beyond noise over seeds. A coin is in the labels, and nothing shows it: nobody may tell it. A
texture is in neither labels nor reports: who sees it is what the table says.

shortcut: in the first center a white stamp goes with nodules, which are hard to see, on 95 of 100 films. unicl learns from that center
alone, on four nested subsets, five seeds, from labels that name the stamp and nothing else: the more films, the better it sees the
shortcut. Probes of nodules learn from other persons of the first center, and are judged on persons of the first, of the second, where
the stamp goes against nodules on films of another look, and of a center with the look of the first where it goes against them, too:
there more images must make it worse (inverse scaling). With ``--finding-named`` reports and labels name the finding, too.

Films for judging are of other seeds than those that the design was chosen on (``--films-seed 1``). Everything goes on where it
was stopped; about an hour of one core.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from made_once import begun, half, read, write
from score_tables import laws_of, lines, machine

from voxmix.encoder_study import run_step
from voxmix.probe_tasks import ProbeTask
from voxmix.radiographs import make_radiographs
from voxmix.radiographs.detector import CENTERS
from voxmix.radiographs.planted import Planted
from voxmix.radiographs.writing import LABELS
from voxmix.scores import main_score
from voxmix.study.listener import Listener
from voxmix.subsets import ALL

TRUTHS = Planted(drain=0.3, texture=0.3, coin=0.5)
FINDING = "nodule"
"""Hard to see at this size, so that the shortcut is what there is to see: an effusion is seen itself."""
SHORTCUT = Planted(shortcut=FINDING, agreement=0.95)
FLOPS = 660_000_000_000  # 16,261 draws of clip, 4,082 of dino, 39,565 of mae
EDGE = 64


def drawn(folder, count, seed, planted, workers):
    """Return the rows of made radiographs, their images named from the folder above."""
    table = make_radiographs(folder, count=count, seed=seed, edge=EDGE, planted=planted, workers=workers)
    return [row | {"image": f"{folder.name}/{row['image']}"} for row in read(table)]


def judging(rows):
    """Return rows of fresh persons, half of whom train probes."""
    named = [row | {"person": f"judge-{row['person']}"} for row in rows]
    return [row | {"split": half(row["person"])} for row in named]


def done(root):
    """Do every step of a study up to its laws; return every score."""
    for step in ("prepare", "run"):
        run_step(step, root, Listener.calling(None, print))
    probed = run_step("probe", root, Listener.calling(None, print))
    return [(result.task, result.judged, main_score(result)) for result in probed.results]


def truths(out, *, count, seed, seeds, compute, workers=1):
    """Run the first study; return a score for each task, objective and seed."""
    out.mkdir(parents=True, exist_ok=True)
    learned = drawn(out / "films", count, seed, TRUTHS, workers)
    judged = judging(drawn(out / "judged", count, seed + 1000, TRUTHS, workers))
    begin = ("image", "person", "domain", "report")
    table = write(out / "learn.csv", (*begin, "wide_drain", "coin"), learned)
    write(out / "judge.csv", (*begin[:3], "split", *LABELS, *TRUTHS.labels), judged)
    groups = {name.replace("_", "-"): (name,) for name in TRUTHS.labels} | {"findings": LABELS[:7]}
    tasks = {
        name: ProbeTask(kind="labels", labels=labels, images="../judge.csv")
        for name, labels in groups.items()
    }
    root = begun(
        out / "truths",
        held_out=0.1,
        images=table,
        objectives=("clip", "unicl", "dino", "mae"),
        samples=(ALL,),
        design={
            "seeds": seeds,
            "extremes_at": None,
            "budget": round(compute * FLOPS),
            "budget_unit": "flops",
        },
        tasks=tasks,
    )
    found = {}
    for task, encoder, score in done(root):
        found.setdefault((task, encoder.objective or encoder.start), {})[encoder.seed] = score
    return found


def against(found, task, first, second):
    """Return the difference of two objectives seed by seed: mean, standard error, and how often the first is above."""
    seeds = sorted(found[task, first])
    gaps = np.array([found[task, first][seed] - found[task, second][seed] for seed in seeds])
    error = gaps.std(ddof=1) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
    return float(gaps.mean()), float(error), int((gaps > 0).sum())


def truth_lines(found):
    """Yield the table of the first study."""
    tasks = list(dict.fromkeys(task for task, _ in found))
    yield "| objective | " + " | ".join(tasks) + " |"
    yield "|---|" + "---|" * len(tasks)
    for name in dict.fromkeys(name for _, name in found):
        cells = []
        for task in tasks:
            values = np.array(list(found[task, name].values()))
            spread = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
            cells.append(f"{values.mean():.3f} ± {spread:.3f}")
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield "AUC: mean over seeds and its standard error. Seed by seed:"
    for task in tasks:
        for first, second in (("unicl", "clip"), ("dino", "clip"), ("mae", "clip"), ("unicl", "untrained")):
            mean, error, above = against(found, task, first, second)
            yield f"- {task}: {first} - {second} {mean:+.3f} ± {error:.3f}, above on {above} of {len(found[task, first])} seeds"


def shortcut(
    out,
    *,
    count,
    seed,
    seeds,
    compute,
    samples=(16, 64, 256, ALL),
    objectives=("unicl",),
    workers=1,
    named=False,
):
    """Run the second study, and return its folder."""
    out.mkdir(parents=True, exist_ok=True)
    first, second = (center.name for center in CENTERS)
    rows = drawn(out / "films", count, seed, SHORTCUT, workers)
    judged = judging(drawn(out / "judged", count, seed + 1000, SHORTCUT, workers))
    begin = ("image", "person", "domain", "report")
    told = (*begin, FINDING, "stamp") if named else (*begin[:3], "stamp")
    table = write(out / "learn.csv", told, [row for row in rows if row["domain"] == first])
    own = [row for row in judged if row["domain"] == first]
    at_home = [row | {"domain": "both"} for row in own if row["split"] == "train"]
    other = [row for row in judged if row["domain"] == second]
    turned = replace(SHORTCUT, agreement=1 - SHORTCUT.agreement)
    again = judging(drawn(out / "turned", count, seed + 2000, turned, workers))
    alike = [row | {"person": f"turned-{row['person']}"} for row in again if row["domain"] == first]
    names = (*begin[:3], "split", FINDING, "stamp")
    write(out / "first.csv", names, own)
    for name, rows in (("second", other), ("turned", alike)):
        away = [row | {"domain": "both", "split": "validation"} for row in rows]
        write(out / f"{name}.csv", names, [*at_home, *away])
    tasks = {
        FINDING: ProbeTask(kind="labels", labels=(FINDING,), images="../first.csv"),
        "stamp": ProbeTask(kind="labels", labels=("stamp",), images="../first.csv"),
        f"{FINDING}-second": ProbeTask(
            kind="labels", labels=(FINDING,), images="../second.csv", outside=True
        ),
        f"{FINDING}-turned": ProbeTask(
            kind="labels", labels=(FINDING,), images="../turned.csv", outside=True
        ),
    }
    root = begun(
        out / "shortcut",
        held_out=0.1,
        images=table,
        objectives=objectives,
        samples=samples,
        design={
            "seeds": seeds,
            "extremes_at": None,
            "budget": round(compute * FLOPS),
            "budget_unit": "flops",
        },
        tasks=tasks,
    )
    done(root)
    return root


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--films-seed", type=int, default=20261129, help="which films; the design was chosen on 1"
    )
    parser.add_argument(
        "--count", type=int, default=2400, help="films to learn from, and as many to judge on"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--compute", type=float, default=1.5, help="budget, 1 is 16,261 draws of clip")
    parser.add_argument("--finding-named", action="store_true", help="reports and labels name the finding")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw films")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    own = {name: getattr(arguments, name) for name in ("count", "seeds", "compute", "workers")}
    print(f"{machine()}\n")
    found = truths(arguments.out / "labels-alone", seed=arguments.films_seed, **own)
    print("\n".join(truth_lines(found)), flush=True)
    root = shortcut(
        arguments.out / "two-centers",
        seed=arguments.films_seed + 1,
        named=arguments.finding_named,
        **own,
    )
    print("\n" + "\n".join(lines(laws_of(root))), flush=True)


if __name__ == "__main__":
    main()
