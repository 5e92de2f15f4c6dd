"""Which objective, how many images, for which task: two studies of encoders on real images.

    python benchmarks/encoders_real.py ../shared/data/radiographs --out STUDIES

FOLDER holds ``medpix/pairs.csv`` (slices with captions), ``nih_cxr/labels.csv`` and ``covid_cxr/pairs.csv`` (chest films), as
their READMEs describe. Everything goes on where it was stopped; hours on two cores.

slices: CT slices with captions are the own center, MR slices of other persons the other one. clip, unicl (labels: region and
plane), dino and mae, from scratch, on 64, 128, 256 and all slices, the extremes at twice the compute, three seeds. Judged
frozen, on persons held out: region, plane, captions (retrieval), reports; region, plane and captions of MR; CT or MR.

films: NIH films. They come without reports: the text of each is its own label names in a sentence ("Effusion, mass."), so clip
and unicl see the same knowledge twice here. Judged: findings; outside: intubation and lung masks of the covid films.

References are networks before they learn, and a dino run on the images of the other study.
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from made_once import begun, half, read, write
from score_tables import laws_of, lines, machine

from voxmix.encoder_study import EncoderView, run_encoder_study, run_step
from voxmix.encoder_study.config_file import read_config, write_config
from voxmix.images.finding import find_images
from voxmix.probe_tasks import ProbeTask
from voxmix.study.listener import Listener
from voxmix.subsets import ALL

OBJECTIVES = ("clip", "unicl", "dino", "mae")
SAMPLES = (64, 128, 256, ALL)
FLOPS = 660_000_000_000  # 16,261 draws of clip, 4,082 of dino, 39,565 of mae
SEEDS, EXTREMES_AT, HELD_OUT = 3, 2.0, 0.3
PLANES = ("Axial", "Coronal", "Sagittal")
LEAST = 10
"""Images that a label needs of either kind, in either part of a task, to be judged: chosen by counts, never by scores."""
REFERENCE_SEED = 0


def slice_cells(row):
    """Return region and plane of a slice as label cells."""
    regions = [int(row["location_category"] == name) for name in REGIONS]
    return [*regions, *(int(row["plane"] == name) if row["plane"] in PLANES else "" for name in PLANES)]


REGIONS = ("Abdomen", "Head", "Reproductive and Urinary System", "Spine and Muscles", "Thorax")
SLICE_LABELS = (*(f"region: {name}" for name in REGIONS), *(f"plane: {name}" for name in PLANES))


def slice_tables(folder, out):
    """Write the tables of slices: all, MR of persons without CT, and CT or MR of persons that nobody learns from."""
    medpix = folder / "medpix"
    rows = [row for row in read(medpix / "pairs.csv") if (medpix / row["image"]).exists()]
    begin = ("image", "person", "domain", "report")
    every = write(
        out / "slices.csv",
        (*begin, *SLICE_LABELS),
        [
            [medpix / r["image"], r["case"], r["type"], r["caption"], *slice_cells(r)]
            for r in rows
        ],
    )  # fmt: skip
    both = {r["case"] for r in rows if r["type"] == "CT"}
    others = [r for r in rows if r["type"] == "MR" and r["case"] not in both]
    mr = write(
        out / "mr.csv",
        (*begin, "split", *SLICE_LABELS),
        [
            [medpix / r["image"], r["case"], "MR", r["caption"], half(r["case"]), *slice_cells(r)]
            for r in others
        ],
    )
    held = {
        record.person for record in find_images(every).select(("CT",)).split(seed=0, fraction=HELD_OUT).records
        if record.split == "validation"
    }  # fmt: skip
    either = [r for r in rows if r["case"] in held or r in others]
    modality = write(
        out / "modality.csv",
        ("image", "person", "domain", "split", "CT"),
        [[medpix / r["image"], r["case"], "either", half(r["case"]), int(r["type"] == "CT")] for r in either],
    )
    return every, mr, modality


def film_tables(folder, out):
    """Write the tables of films: NIH with label names as text, and covid films."""
    nih, covid = folder / "nih_cxr", folder / "covid_cxr"
    rows = [row for row in read(nih / "labels.csv") if (nih / row["image"]).exists()]
    present = {row["image"]: [x for x in row["labels"].split("|") if x != "No Finding"] for row in rows}
    names = sorted({name for found in present.values() for name in found})

    def plain(name):
        return name.lower().replace("_", " ")

    def sentence(found):
        return ", ".join(map(plain, found)).capitalize() + "." if found else "No finding."

    every = write(
        out / "films.csv",
        ("image", "person", "domain", "view", "report", *map(plain, names)),
        [
            [
                nih / r["image"], r["patient"], "NIH", r["view"], sentence(present[r["image"]]),
                *(int(name in present[r["image"]]) for name in names),
            ]
            for r in rows
        ],
    )  # fmt: skip
    frontal = [r for r in read(covid / "pairs.csv") if (covid / r["image"]).exists() and r["view"] != "L"]
    yes = {"Y": 1, "N": 0}
    other = write(
        out / "covid.csv",
        ("image", "person", "domain", "split", "intubated", "lung mask"),
        [
            [
                covid / r["image"], r["patient"], "COVID", half(r["patient"]), yes.get(r["intubated"], ""),
                covid / r["lung_mask"] if r["lung_mask"] else "",
            ]
            for r in frontal
        ],
    )  # fmt: skip
    return every, other


def enough(table, names, *, domains=None):
    """Return the labels of which either part has enough images with and without."""
    found = find_images(table)
    split = found.select(domains or found.domains).split(seed=0, fraction=HELD_OUT)
    kept = []
    for name in names:
        seen = Counter((r.split, r.labels[name]) for r in split.records if name in r.labels)
        if all(seen[side, value] >= LEAST for side in ("train", "validation") for value in (0, 1)):
            kept.append(name)
    return tuple(kept)


def study(root, table, *, exclude, tasks):
    """Return the folder of a study of all objectives, begun now or before."""
    return begun(
        root,
        held_out=HELD_OUT,
        tasks=tasks,
        images=table,
        objectives=OBJECTIVES,
        samples=SAMPLES,
        exclude=exclude,
        design={
            "seeds": SEEDS,
            "extremes_at": EXTREMES_AT,
            "budget": FLOPS,
            "budget_unit": "flops",
            "only_with_reports": True,
        },
    )


def slices(folder, out, *, reports):
    """Begin the study of slices."""
    every, mr, modality = slice_tables(folder, out)

    def labels(group, table=None, **rest):
        names = [name for name in SLICE_LABELS if name.startswith(group)]
        found = enough(table or every, names, domains=None if table else ("CT",))
        return ProbeTask(kind="labels", labels=found, images=table and f"../{table.name}", **rest)

    tasks = {
        "region": labels("region"),
        "plane": labels("plane"),
        "captions": ProbeTask(kind="retrieval"),
        **({"reports": ProbeTask(kind="reports")} if reports else {}),
        "region-MR": labels("region", mr, outside=True),
        "plane-MR": labels("plane", mr, outside=True),
        "captions-MR": ProbeTask(kind="retrieval", images=f"../{mr.name}", outside=True),
        "modality": ProbeTask(kind="labels", labels=("CT",), images=f"../{modality.name}", outside=True),
    }
    return study(out / "slices", every, exclude=("MR",), tasks=tasks)


def films(folder, out):
    """Begin the study of films."""
    every, covid = film_tables(folder, out)
    names = find_images(every).label_names
    tasks = {
        "findings": ProbeTask(kind="labels", labels=enough(every, names)),
        "intubated": ProbeTask(kind="labels", labels=("intubated",), images=f"../{covid.name}", outside=True),
        "lungs": ProbeTask(kind="masks", images=f"../{covid.name}", outside=True),
    }
    return study(out / "films", every, exclude=(), tasks=tasks)


def refer(root, name, other):
    """Let the dino run of the other study on all its images judge as a reference, by its first seed."""
    view = EncoderView.open(other)
    largest = max(subset.images for subset in view.subsets)
    (run,) = [
        run
        for run in view.planned
        if run.spec.objective == "dino" and run.spec.samples == largest and run.spec.seed == REFERENCE_SEED
        and run.kind == "equal compute"
    ]  # fmt: skip
    path = root / "study.yaml"
    folder = view.study.run_dir(run.spec)
    config = read_config(path)
    write_config(
        replace(config, references={name: f"../{folder.resolve().relative_to(root.parent.resolve())}"}), path
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without-reports", action="store_true", help="do not train report generation")
    parser.add_argument("--only", choices=("slices", "films"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    folder = arguments.folder.resolve()
    found = {
        "slices": slices(folder, out, reports=not arguments.without_reports),
        "films": films(folder, out),
    }
    for root in found.values():
        for step in ("prepare", "run"):
            run_step(step, root, Listener.calling(None, print))
    refer(found["slices"], "own-films", found["films"])
    refer(found["films"], "own-slices", found["slices"])
    for name, root in found.items():
        if arguments.only in (None, name):
            run_encoder_study(root, tell=print)
            print(f"\n## {name}\n\n{machine()}\n")
            print("\n".join(lines(laws_of(root))), flush=True)


if __name__ == "__main__":
    main()
