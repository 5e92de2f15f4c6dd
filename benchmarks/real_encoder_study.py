"""A study of encoders on real images: captioned CT and MR slices, three subset sizes, two objectives, two seeds, two starts.

    python benchmarks/real_encoder_study.py FOLDER --out STUDIES

FOLDER holds ``nih_cxr/labels.csv`` (chest films) and ``medpix/pairs.csv`` (slices with captions), as their READMEs describe.
The start is voxmix's own: dino on the films. Then dino and clip learn from the slices, from scratch and from that start. A
frozen ridge probe (class token and mean of patches) on body region, modality and plane, which no run was given, judges every
encoder on the persons kept aside, before and after. Everything goes on where it was stopped.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from encoders_learn import probe

from voxmix.encoder_study import EncoderView, run_encoder_study, start_encoder_study
from voxmix.encoders.backbone import build_backbone
from voxmix.encoders.start import load_start, start_backbone

TASKS = ("location_category", "type", "plane")


class Slice:
    """An image as the probe wants it."""

    def __init__(self, item, pixels, row):
        self.key, self.split, self.pixels = item.key, item.split, pixels
        self.tasks = {f"{task}={row[task]}": 1 for task in TASKS}


def begun(root, **options):
    """Return the study in a folder, begun now or before."""
    if not (root / "study.yaml").exists():
        start_encoder_study(root, **options)
        path = root / "study.yaml"
        path.write_text(
            path.read_text(encoding="utf-8").replace("trackers: [tensorboard]", "trackers: []"),
            encoding="utf-8",
        )
    return EncoderView.open(root)


def slices_of(view, table):
    """Return the prepared slices with the cells of the table that are the probe's tasks."""
    with Path(table).open(encoding="utf-8") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    private = next(view.study.private_dir.rglob("*.json"))
    files = json.loads(private.read_text(encoding="utf-8"))["volumes"]
    found = []
    for item in view.source.items:
        name = next(row for row in rows if files[item.key].endswith(row))
        found.append(Slice(item, view.source.array(item), rows[name]))
    return found


def mean_auc(backbone, items, edge):
    """Return the mean AUC over tasks, and how many tasks there are."""
    found = probe(backbone, items, edge)
    return float(np.mean(list(found.values()))), len(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=int, default=4096)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    films = begun(
        arguments.out / "films",
        images=arguments.folder / "nih_cxr" / "labels.csv",
        objectives=("dino",),
        samples=("all",),
        design={"seeds": 1, "extremes_at": None, "budget": 2 * arguments.budget},
    )
    (own,) = run_encoder_study(films.root, tell=print)
    start = films.study.run_dir(own.planned.spec)
    table = arguments.folder / "medpix" / "pairs.csv"
    view = begun(
        arguments.out / "slices",
        images=table,
        objectives=("dino", "clip"),
        samples=(64, 256, "all"),
        starts={"scratch": None, "own-films": start},
        design={"budget": arguments.budget},
    )
    runs = run_encoder_study(view.root, tell=print)
    view = EncoderView.open(view.root)
    items = slices_of(view, table)
    edge = view.config.backbone.image
    loaded = load_start(start, image=edge)
    before = {
        ("own-films", seed): mean_auc(start_backbone(loaded, seed), items, edge)[0]
        for seed in range(view.config.design.seeds)
    }
    for seed in range(view.config.design.seeds):
        before["scratch", seed] = mean_auc(build_backbone(view.config.backbone, seed), items, edge)[0]
    print(f"before: { ({f'{start} {seed}': round(value, 3) for (start, seed), value in before.items()}) }")
    groups = {}
    for run in runs:
        spec = run.planned.spec
        found = load_start(view.study.run_dir(spec), image=edge)
        after, tasks = mean_auc(start_backbone(found, 0), items, edge)
        key = (spec.objective, run.planned.start, run.planned.kind, spec.samples)
        groups.setdefault(key, []).append((before[run.planned.start, spec.seed], after, run.result))
    print(f"{tasks} tasks, {sum(item.split != 'train' for item in items)} slices kept aside")
    print(
        "| objective | start | compute | slices | epochs | AUC before | AUC after, each seed | held-out loss | alarms |"
    )
    print("|---|---|---|---:|---:|---:|---|---:|---:|")
    for (objective, name, kind, samples), found in groups.items():
        afters = ", ".join(f"{after:.3f}" for _, after, _ in found)
        first = np.mean([one for one, _, _ in found])
        loss = np.mean([result.held_out["loss"] for *_, result in found])
        alarms = sum(bool(result.alarms) for *_, result in found)
        epochs = found[0][2].epochs
        print(
            f"| {objective} | {name} | {kind} | {samples:,} | {epochs:.3g} | {first:.3f} | {afters} | {loss:.3f} | {alarms} |"
        )


if __name__ == "__main__":
    main()
