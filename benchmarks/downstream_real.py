"""Real volumes, end to end: pretrain under four strategies, finetune on four tasks, with controls. Takes long.

    python benchmarks/downstream_real.py VOLUMES STUDY

VOLUMES holds the domains BRAIN-T1, BRAIN-FLAIR, HN-CT, STS-CT, STS-MRT1 and STS-PET of public data (see
docs/studies/downstream.md). STUDY is made, or gone on with: every step is resumable. Nothing of VOLUMES is copied
but prepared arrays and the crops of the classification task, both inside STUDY.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import yaml

DOMAINS = ("BRAIN-T1", "BRAIN-FLAIR", "HN-CT", "STS-CT", "STS-MRT1", "STS-PET")
ORGANS = {
    1: "brainstem",
    2: "spinal cord",
    3: "right parotid",
    4: "left parotid",
    5: "esophagus",
    6: "larynx",
    7: "mandible",
}
VIEW_MM = 128.0  # the encoder's crop: 32 voxels of 4 mm

TASKS = {
    "organ-in-view": {
        "kind": "classification",
        "domain": "HN-CT",
        "data": "views/table.csv",
        "layout": "csv",
        "table": {"file": "table.csv", "id": "path", "value": "class"},
        "classes": {name: name for name in ORGANS.values()},
        "samples": 1,
        "keep_frame": True,
    },
    "brain-regions": {
        "kind": "segmentation",
        "domain": "BRAIN-T1",
        "classes": {
            "background": 0,
            "ventricles": [4, 11, 49, 50, 51, 52],
            "deep gray matter": [23, 30, 31, 32, 36, 37, 47, 48, *range(55, 63), 75, 76],
            "brainstem": 35,
            "cerebellum": [38, 39, 40, 41, 71, 72, 73],
            "white matter": [*range(81, 96)],
            "cortex": [*range(100, 208)],
        },
        "unlisted": "background",
    },
    "sarcoma-pet": {
        "kind": "segmentation",
        "domain": "STS-PET",
        "classes": {"background": 0, "tumor": 1},
        "settings": {"draws": 240},
        "pos": 4,
        "neg": 1,
    },
    "hn-organs": {
        "kind": "segmentation",
        "domain": "HN-CT",
        "classes": {
            "background": 0,
            "cord and brainstem": [1, 2],
            "parotids": [3, 4],
            "mandible": 7,
            "target": [8, 9, 10],
        },
        "unlisted": "background",
        "pos": 4,
        "neg": 1,
    },
}
SEGMENT = {
    "draws": 480,
    "batch_size": 2,
    "feature_size": 8,
    "learning_rate": 3e-3,
    "warmup_steps": 10,
    "validations": 4,
}
CLASSIFY = {"draws": 640, "batch_size": 16, "learning_rate": 1e-3, "warmup_steps": 10, "validations": 4}
INITS = ("scratch", "single", "uniform", "data-proportional", "transfer-aware")
CONTROLS = ("frozen", "permuted", "no-tokens")
# The same tasks with more draws: does the answer change?
LONG = {"organ-in-view": 4800, "brain-regions": 1920, "hn-organs": 1920}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("volumes", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--until", choices=("pretrain", "compare"), default="compare")
    asked = parser.parse_args()
    study = asked.study.resolve()
    if not (study / "study.yaml").exists():
        domains = [word for name in DOMAINS for word in ("--domain", name)]
        voxmix("init", str(study), "--data", str(asked.volumes), *domains)
        settle(study, asked.workers)
        write_tasks(study, asked.volumes.resolve())
    for step in ("prepare", "run", "fit", "allocate", "pretrain"):
        voxmix(step, str(study))
    if asked.until == "pretrain":
        return
    cut_views(asked.volumes / "HN-CT", study / "views")
    for seeds in range(1, asked.seeds + 1):  # seed by seed: stopped anywhere, what is there can be compared
        for task in TASKS:
            finetune(study, task, INITS, seeds=seeds)
        for task in LONG:
            for control in CONTROLS:
                finetune(study, task, ["transfer-aware"], seeds=seeds, control=control)
            finetune(study, f"{task}-long", ["scratch", "transfer-aware"], seeds=seeds)
    print(histogram_baseline(study), flush=True)
    voxmix("compare", str(study))


def finetune(study: Path, task: str, inits: Sequence[str], *, seeds: int, control: str | None = None) -> None:
    words = [word for name in inits for word in ("--init", name)]
    more = [] if control is None else ["--control", control]
    voxmix("finetune", str(study), "--task", task, *words, *more, "--seeds", str(seeds))


def voxmix(*arguments: str) -> None:
    """Run a verb and show what it says."""
    print("$ voxmix", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "voxmix", *arguments], check=True)


def settle(study: Path, workers: int | None) -> None:
    """Change the study file: fewer draws, subjects held out for test, HU + 1024 in the head-and-neck files."""
    path = study / "study.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["recipe"]["intensity"]["HN-CT"] = {"kind": "window", "low": 849.0, "high": 1274.0}
    values["data"]["validation_fraction"] = 0.4
    values["design"] = {"budgets": [1000, 2000, 4000], "seeds": 1, "anchor_seeds": 2}
    values["allocation"].update(
        budget=6000, seeds=2, strategies=["uniform", "data-proportional", "transfer-aware"]
    )
    values["workers"] = workers
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def write_tasks(study: Path, volumes: Path) -> None:
    """Write the tasks, and two of them once more with other draws."""
    rows: dict[str, object] = {}
    for name, row in TASKS.items():
        usual = CLASSIFY if row["kind"] == "classification" else SEGMENT
        settings = {**usual, **row.get("settings", {})}
        rows[name] = {"data": str(volumes), **row, "split": [0.6, 0.1, 0.3], "settings": settings}
    rows |= {f"{name}-long": {"like": name, "settings": {"draws": draws}} for name, draws in LONG.items()}
    (study / "tasks.yaml").write_text(yaml.safe_dump(rows, sort_keys=False), encoding="utf-8")


def cut_views(source: Path, target: Path) -> None:
    """Cut a cube about the middle of every organ of every head-and-neck CT, and list them with their class.

    What a cube shows near its middle is the class: the two parotids have the same tissue and lie in the same
    surroundings, mirrored, so that intensities alone cannot tell them apart.
    """
    table = target / "table.csv"
    if table.exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in sorted(source.glob("*/*_ct.nii.gz")):
        image = nibabel.load(path)
        labels = np.asarray(nibabel.load(path.with_name(path.name.replace(".nii", "_seg.nii"))).dataobj)
        values = np.asarray(image.dataobj)
        half = np.ceil(VIEW_MM / 2 / np.linalg.norm(image.affine[:3, :3], axis=0)).astype(int)
        for label, organ in ORGANS.items():
            places = np.argwhere(labels == label)
            if len(places) < 20:
                continue
            middle = np.rint(places.mean(axis=0)).astype(int)
            low, high = middle - half, middle + half
            cube = np.zeros(high - low, dtype=values.dtype)
            inside = [slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, values.shape, strict=True)]
            cube[tuple(slice(s.start - a, s.stop - a) for s, a in zip(inside, low, strict=True))] = values[
                tuple(inside)
            ]
            affine = image.affine.copy()
            affine[:3, 3] = image.affine[:3, :3] @ low + image.affine[:3, 3]
            name = f"{path.parent.name}_{organ.replace(' ', '-')}.nii.gz"
            nibabel.Nifti1Image(cube, affine).to_filename(target / name)
            rows.append([name, "HN-CT", path.parent.name, organ])
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "domain", "subject", "class"], *rows])


def histogram_baseline(study: Path) -> str:
    """Return what intensities alone tell: nearest mean and logistic regression on 32-bin histograms of the views."""
    import torch

    from voxmix.downstream.cases import open_cases
    from voxmix.downstream.metrics import classification_scores
    from voxmix.downstream.task_file import find_task
    from voxmix.downstream.transforms import centered

    cases = open_cases(
        find_task("organ-in-view", study / "tasks.yaml"), study / "downstream/organ-in-view/cases"
    )

    def part(*names: str) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = [case for name in names for case in cases.part(name)]
        views = [centered(cases.image(case), 32).astype(np.float64) for case in chosen]
        counts = np.stack([np.histogram(view, bins=32, range=(0, 1))[0] / view.size for view in views])
        return torch.from_numpy(np.sqrt(counts)), torch.tensor([case.target for case in chosen])

    (x, y), (tx, ty) = part("train", "validation"), part("test")
    mean, spread = x.mean(dim=0), x.std(dim=0) + 1e-6
    x, tx = (x - mean) / spread, (tx - mean) / spread
    torch.manual_seed(0)
    model = torch.nn.Linear(x.shape[1], len(cases.classes)).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=300)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y) + 1e-3 * model.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = classification_scores(ty, model(tx).softmax(dim=1).detach())
    sides = [cases.classes.index(f"{side} parotid") for side in ("right", "left")]
    paired = torch.isin(ty, torch.tensor(sides))
    apart = (model(tx[paired])[:, sides].argmax(dim=1) == (ty[paired] == sides[1])).double().mean()
    shares = torch.bincount(ty, minlength=len(cases.classes)).double() / len(ty)
    return (
        "\n| organ-in-view without an encoder | accuracy | balanced accuracy | AUC |\n|---|---:|---:|---:|\n"
        f"| always the most frequent class | {shares.max():.3f} | {1 / len(cases.classes):.3f} | 0.5 |\n"
        "| logistic regression on the intensity histogram | "
        f"{found['accuracy']:.3f} | {found['balanced_accuracy']:.3f} | {found['auc']:.3f} |\n"
        f"| the same, right parotid against left ({int(paired.sum())} views) | {apart:.3f} | | |\n"
    )


if __name__ == "__main__":
    main()
