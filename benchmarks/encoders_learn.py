"""Does each objective learn something in minutes on one core? A frozen probe after training against before.

    python benchmarks/encoders_learn.py medpix --folder ../shared/data/radiographs/medpix --objectives dino,clip,mae
    python benchmarks/encoders_learn.py films --objectives clip,unicl --seeds 0,1,2 --draws 20480
    python benchmarks/encoders_learn.py films --objectives dino,mae --seeds 0,1,2

``medpix`` are real slices with captions (region, modality, plane); ``films`` are made ones (findings, tubes), whose reports
leave out tubes in half of the cases while labels are complete. Settings are those of the study's small preset
(:data:`voxmix.encoder_study.presets.PRESETS`). A line of JSON per objective and seed: for each task the AUC of a ridge
classifier on frozen features (class token and mean of patches), before and after, on persons kept aside. Then a table with
its date and machine: means over tasks and seeds, and the gain with its standard error, seed by seed (a seed is a block: the
same network at the start, the same draws). With ``--rows`` rows of earlier calls are kept in a file, and go into the table.
"""

import argparse
import csv
import json
import platform
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from voxmix._io import digest
from voxmix.backbone_rows import VitSettings
from voxmix.compute import ComputeSettings
from voxmix.encoder_runs import EncoderSpec, subset_digest
from voxmix.encoder_study.presets import PRESETS
from voxmix.objective_rows import OBJECTIVES, SMALL, objective_settings
from voxmix.run_settings import TrainingSettings
from voxmix.training.loop import run

EDGE = 40
FILM_EDGE = 64


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
        self.digest = self.pictures = digest([item.key for item in items])
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
    rows = list(csv.DictReader(table.open(encoding="utf-8")))[:count]
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


def films(count, seed):
    from voxmix.radiographs.writing import LABELS, make_radiograph

    items = []
    for number in range(count):
        made = make_radiograph(number, seed=seed, edge=FILM_EDGE)
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
    """Return the AUC of each task (a name to 0 or 1 of each item; left out is 0): ridge regression on standardised features,
    its penalty fixed, judged on the persons kept aside; a task with fewer than 8 of a kind is left out."""
    train = [item for item in items if item.split == "train"]
    test = [item for item in items if item.split != "train"]
    x, z = features(backbone, train, edge), features(backbone, test, edge)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, z = (x - mean) / deviation, (z - mean) / deviation
    inverse = np.linalg.inv(x.T @ x + 0.1 * len(x) * np.eye(x.shape[1])) @ x.T
    found = {}
    for task in sorted({task for item in items for task in item.tasks}):
        y, truth = (np.array([item.tasks.get(task, 0) for item in part]) for part in (train, test))
        if min(y.sum(), truth.sum(), (1 - truth).sum()) >= 8:
            found[task] = auc(truth, z @ (inverse @ (y - y.mean())))
    return found


TUBES = ("endotracheal_tube", "nasogastric_tube", "central_line", "chest_tube", "pacemaker")


def learned(name, seed, draws, items, small):
    """Return a row: what the probe says before and after one run."""
    own = dict(small)
    if own.pop("tube_labels", False):
        tubes = {task.replace("_", " ") for task in TUBES}
        items = [replace(i, labels={k: v for k, v in i.labels.items() if k in tubes}) for i in items]
    source = Samples(items)
    train = [item for item in items if item.split == "train"]
    backbone = VitSettings(**own["backbone"])
    spec = EncoderSpec(
        objective=name,
        objective_settings=objective_settings(name, own["objective"]),
        backbone=backbone,
        samples=len(train),
        subset=subset_digest(train),
        seed=seed,
        budget=draws,
        text=PRESETS["small"].text,
        views=replace(PRESETS["small"].views, **own.get("views", {})),
        training=TrainingSettings(**own["training"]),
        cache=source.digest,
        tokenizer="words",
    )
    module, _, kind = OBJECTIVES[name].made_by.partition(":")
    objective = getattr(import_module(module), kind)(spec=spec, source=source)
    model = objective.build()
    network = model.get_submodule(objective.encoder_prefix.rstrip("."))
    before = probe(network, items, backbone.image)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began, cpu = time.monotonic(), time.process_time()
        run(objective, folder=Path(folder), compute=ComputeSettings(device="cpu", trackers=()), threads=1)
        cpu, seconds = time.process_time() - cpu, time.monotonic() - began
        result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
        weights = load_file(Path(folder) / "weights.safetensors")
    model.load_state_dict(weights, strict=False)
    after = probe(network, items, backbone.image)
    return {
        "objective": name,
        "seed": seed,
        "draws": draws,
        "images": len(train),
        "tasks": {task: [round(float(before[task]), 4), round(float(after[task]), 4)] for task in after},
        "cpu_seconds": round(cpu, 1),
        "seconds": round(seconds, 1),
        "final": {k: round(v, 3) for k, v in result["final"].items()},
        "held_out": result["held_out"] and round(result["held_out"]["loss"], 4),
        "alarms": result["alarms"],
        "date": time.strftime("%Y-%m-%d"),
    }


def mean_auc(row, group, place):
    """Return the mean AUC over the tasks of a group: tubes, or all others."""
    return float(
        np.mean([pair[place] for task, pair in row["tasks"].items() if (task in TUBES) == (group == "tubes")])
    )


def paired(differences):
    """Return a mean over seeds with its standard error, in words."""
    error = np.std(differences, ddof=1) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    return f"{np.mean(differences):+.3f} ± {error:.3f}"


def table(rows):
    """Return the table of rows, and of UniCL against CLIP seed by seed."""
    groups = sorted({"tubes" if task in TUBES else "other" for row in rows for task in row["tasks"]})
    names = {"tubes": "tubes", "other": "findings" if "tubes" in groups else "tasks"}
    lines = [
        "| objective | draws | seeds | "
        + " | ".join(f"{names[g]}: before, after, gain" for g in groups)
        + " | CPU s |",
        "|---|---:|---:|" + "---|" * len(groups) + "---:|",
    ]
    found = {}
    for row in rows:
        found.setdefault((row["objective"], row["draws"]), {})[row["seed"]] = row
    for (name, draws), seeds in found.items():
        cells = []
        for group in groups:
            before, after = (np.array([mean_auc(r, group, k) for r in seeds.values()]) for k in (0, 1))
            cells.append(f"{before.mean():.3f}, {after.mean():.3f}, {paired(after - before)}")
        cost = np.mean([row["cpu_seconds"] for row in seeds.values()])
        lines.append(f"| {name} | {draws} | {len(seeds)} | {' | '.join(cells)} | {cost:.0f} |")
    for (name, draws), seeds in found.items():
        clip = found.get(("clip", draws), {})
        both = sorted(set(seeds) & set(clip))
        if name == "unicl" and both:
            said = [
                f"{names[g]} {paired([mean_auc(seeds[s], g, 1) - mean_auc(clip[s], g, 1) for s in both])}"
                for g in groups
            ]
            lines.append(f"\nunicl against clip, seed by seed, {draws} draws: {', '.join(said)}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", choices=["medpix", "films"])
    parser.add_argument("--folder", default="../shared/data/radiographs/medpix")
    parser.add_argument("--count", type=int, default=3000, help="images")
    parser.add_argument("--films-seed", type=int, default=1, help="which made films")
    parser.add_argument("--objectives", default="dino,clip,mae")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--draws", type=int, default=8192)
    parser.add_argument("--rows", type=Path, help="file of rows to add to")
    parser.add_argument("--set", default="{}", help="JSON of settings of the objective")
    parser.add_argument("--training", default="{}", help="JSON of training settings")
    parser.add_argument("--backbone", default="{}", help="JSON of backbone settings")
    parser.add_argument("--views", default="{}", help="JSON of view settings")
    parser.add_argument("--tube-labels", action="store_true", help="image-label pairs name tubes alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.data == "medpix":
        items = medpix(arguments.folder, arguments.count)
    else:
        items = films(arguments.count, arguments.films_seed)
    rows = []
    if arguments.rows and arguments.rows.exists():
        rows = [json.loads(line) for line in arguments.rows.read_text(encoding="utf-8").splitlines()]
    for seed in map(int, arguments.seeds.split(",")):
        for name in arguments.objectives.split(","):
            small = {part: dict(values) for part, values in SMALL[name].items()}
            for part, given in (
                ("objective", arguments.set),
                ("training", arguments.training),
                ("backbone", arguments.backbone),
                ("views", arguments.views),
            ):
                small[part] = small.get(part, {}) | json.loads(given)
            small["tube_labels"] = arguments.tube_labels and arguments.data == "films"
            row = learned(name, seed, arguments.draws, items, small)
            print(json.dumps(row), flush=True)
            rows.append(row)
            if arguments.rows:
                with arguments.rows.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
    print(
        f"\n{time.strftime('%Y-%m-%d')}, {platform.machine()} {platform.system()}, one thread, torch {torch.__version__}"
    )
    print(table(rows))


if __name__ == "__main__":
    main()
