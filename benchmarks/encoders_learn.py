"""Does each objective learn something in minutes on one core? A frozen probe after training against before.

    python benchmarks/encoders_learn.py medpix --folder ../shared/data/radiographs/medpix --objectives dino,clip,mae
    python benchmarks/encoders_learn.py films --objectives dino,clip,unicl,mae --count 600

``medpix`` are real slices with captions (region, modality, plane); ``films`` are made ones (findings, tubes), whose reports
leave out tubes in half of the cases while labels are complete. Settings are voxmix's small ones
(:data:`voxmix.objective_rows.SMALL`). A line of JSON per objective and seed: the mean over tasks of the AUC of a ridge
classifier on frozen features (class token and mean of patches), before and after, on persons kept aside.
"""

import argparse
import csv
import json
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from voxmix._io import digest
from voxmix.backbone_rows import VitSettings
from voxmix.compute import ComputeSettings
from voxmix.encoder_runs import EncoderSpec, TextSettings, subset_digest
from voxmix.objective_rows import OBJECTIVES, SMALL, objective_settings
from voxmix.run_settings import TrainingSettings
from voxmix.training.loop import run

EDGE = 40


@dataclass(frozen=True, kw_only=True)
class Sample:
    key: str
    domain: str
    person: str
    split: str
    shape: tuple
    has_text: bool
    labels: dict
    words: tuple
    tasks: dict
    pixels: np.ndarray


class Samples:
    """A source in memory, its texts cut at spaces."""

    axes = 2
    tokenizer = "words"

    def __init__(self, items):
        self.items = tuple(items)
        self.digest = digest([item.key for item in items])
        counts = {}
        for item in items:
            for word in {*item.words, *(w for name in item.labels for w in name.split())}:
                counts[word] = counts.get(word, 0) + 1
        known = sorted(counts, key=lambda word: (-counts[word], word))[:1990]
        self.vocabulary = {word: 4 + k for k, word in enumerate(known)}
        self.label_names = tuple(sorted({name for item in items for name in item.labels}))

    def array(self, item):
        return item.pixels

    def _of(self, words):
        return np.array([1, *(self.vocabulary.get(word, 3) for word in words), 2])

    def tokens(self, item):
        return self._of(item.words)

    def label_tokens(self, item):
        names = sorted(name for name, value in item.labels.items() if value)
        return self._of([w for name in names for w in name.split()] or ["no", "finding"])


def words_of(text):
    return tuple("".join(c if c.isalnum() else " " for c in text.lower()).split())


def medpix(folder, count):
    from PIL import Image

    table = next(Path(folder).glob("*.csv"))
    rows = list(csv.DictReader(table.open()))[:count]
    regions = sorted({row["location_category"] for row in rows})
    items = []
    for row in rows:
        image = Image.open(Path(folder) / row["image"]).convert("L")
        scale = EDGE / min(image.size)
        image = image.resize([max(EDGE, round(n * scale)) for n in image.size], Image.BICUBIC)
        pixels = (np.asarray(image, dtype=np.float32) / 255).astype(np.float16)
        kept = int(digest(row["case"])[:6], 16) % 4 == 0
        tasks = {f"region {r}": int(row["location_category"] == r) for r in regions}
        tasks |= {"CT": int(row["type"] == "CT")} | {p: int(row["plane"] == p) for p in ("Axial", "Sagittal")}
        words = words_of(row["caption"])
        items.append(
            Sample(
                key=row["image"],
                domain=row["type"],
                person=row["case"],
                split="validation" if kept else "train",
                shape=pixels.shape,
                has_text=len(words) > 3,
                labels={row["location_category"].lower(): 1},
                words=words,
                tasks=tasks,
                pixels=pixels,
            )
        )
    return items


def films(folder, count):
    from voxmix.radiographs.writing import LABELS, make_radiograph

    items = []
    for number in range(count):
        made = make_radiograph(number, seed=1, edge=EDGE + 8)
        kept = int(digest(str(made.plan.person))[:6], 16) % 4 == 0
        pixels = (made.film.image / 255).astype(np.float16)
        items.append(
            Sample(
                key=str(number),
                domain=made.plan.center.name,
                person=str(made.plan.person),
                split="validation" if kept else "train",
                shape=pixels.shape,
                has_text=True,
                labels={name.replace("_", " "): value for name, value in made.labels.items()},
                words=words_of(made.report.text),
                tasks={name: made.labels[name] for name in LABELS},
                pixels=pixels,
            )
        )
    return items


@torch.no_grad()
def features(backbone, items, edge):
    found = []
    for start in range(0, len(items), 128):
        part = items[start : start + 128]
        pixels = torch.stack(
            [
                torch.nn.functional.interpolate(
                    torch.from_numpy(item.pixels).float()[None, None], size=(edge, edge), mode="bilinear"
                )[0]
                for item in part
            ]
        )
        seen = backbone.eval()(pixels)
        found.append(torch.cat([seen.cls, seen.patches.mean(dim=1)], dim=1))
    return torch.cat(found).double().numpy()


def auc(truth, score):
    order = np.argsort(score)
    rank = np.empty(len(score))
    rank[order] = np.arange(1, len(score) + 1)
    ones = truth.sum()
    return (rank[truth == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(truth) - ones))


def probe(backbone, items, edge):
    """Return the AUC of each task: ridge regression on standardised features, its penalty fixed."""
    train = [item for item in items if item.split == "train"]
    test = [item for item in items if item.split != "train"]
    x, z = features(backbone, train, edge), features(backbone, test, edge)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, z = (x - mean) / deviation, (z - mean) / deviation
    inverse = np.linalg.inv(x.T @ x + 0.1 * len(x) * np.eye(x.shape[1])) @ x.T
    found = {}
    for task in items[0].tasks:
        y, truth = (np.array([item.tasks[task] for item in part]) for part in (train, test))
        if min(y.sum(), truth.sum(), (1 - truth).sum()) >= 8:
            found[task] = auc(truth, z @ (inverse @ (y - y.mean())))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=["medpix", "films"])
    parser.add_argument("--folder", default="../shared/data/radiographs/medpix")
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--objectives", default="dino,clip,mae")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--draws", type=int, default=8192)
    parser.add_argument("--set", default="{}", help="JSON of settings of the objective")
    parser.add_argument("--training", default="{}", help="JSON of training settings")
    parser.add_argument("--backbone", default="{}", help="JSON of backbone settings")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    items = (medpix if arguments.data == "medpix" else films)(arguments.folder, arguments.count)
    source = Samples(items)
    train = [item for item in items if item.split == "train"]
    for name in arguments.objectives.split(","):
        small = SMALL[name]
        backbone = VitSettings(**small["backbone"] | json.loads(arguments.backbone))
        for seed in map(int, arguments.seeds.split(",")):
            spec = EncoderSpec(
                objective=name,
                objective_settings=objective_settings(name, small["objective"] | json.loads(arguments.set)),
                backbone=backbone,
                samples=len(train),
                subset=subset_digest(train),
                seed=seed,
                budget=arguments.draws,
                text=TextSettings(width=64, depth=2, heads=4, context=48, vocabulary=2000),
                training=TrainingSettings(**small["training"] | json.loads(arguments.training)),
                cache=source.digest,
                tokenizer="words",
            )
            module, _, kind = OBJECTIVES[name].made_by.partition(":")
            objective = getattr(import_module(module), kind)(spec=spec, source=source)
            model = objective.build()
            first = model
            prefix = objective.encoder_prefix.rstrip(".")
            before = probe(first.get_submodule(prefix), items, backbone.image)
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                began, cpu = time.monotonic(), time.process_time()
                run(
                    objective,
                    folder=Path(folder),
                    compute=ComputeSettings(device="cpu", trackers=()),
                    threads=1,
                )
                result = json.loads((Path(folder) / "result.json").read_text())
                first_row = json.loads((Path(folder) / "metrics.jsonl").read_text().splitlines()[0])
                from safetensors.torch import load_file

                weights = load_file(Path(folder) / "weights.safetensors")
            model.load_state_dict(weights, strict=False)
            after = probe(model.get_submodule(prefix), items, backbone.image)
            row = {
                "objective": name,
                "seed": seed,
                "before": round(float(np.mean(list(before.values()))), 4),
                "after": round(float(np.mean(list(after.values()))), 4),
                "tasks": {
                    task: [round(float(before[task]), 3), round(float(after[task]), 3)] for task in after
                },
                "cpu_seconds": round(time.process_time() - cpu, 1),
                "seconds": round(time.monotonic() - began, 1),
                "first": {k: round(v, 3) for k, v in first_row.items() if isinstance(v, float)},
                "final": {k: round(v, 3) for k, v in result["final"].items()},
                "held_out": result["held_out"] and round(result["held_out"]["loss"], 4),
                "alarms": result["alarms"],
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
