"""Tables and studies of encoders, for the benchmarks of encoders: written once, begun once, then gone on with."""

import csv
import hashlib
from dataclasses import replace

from voxmix.encoder_study import start_encoder_study
from voxmix.encoder_study.config_file import read_config, write_config


def read(path):
    """Return the rows of a table, each a dict by column."""
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write(path, names, rows):
    """Write some columns of rows, unless the file is so already: then what was prepared of it is kept. Return its path."""
    new = path.with_suffix(".new")
    with new.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream, lineterminator="\n")
        out.writerow(names)
        out.writerows([row[name] for name in names] if isinstance(row, dict) else row for row in rows)
    if path.exists() and path.read_bytes() == new.read_bytes():
        new.unlink()
    else:
        new.replace(path)
    return path


def half(person):
    """Return the side of a person in tables that have a split of their own: half of the persons each."""
    return "validation" if hashlib.sha256(person.encode()).digest()[0] % 2 else "train"


def begun(root, *, held_out, tasks, **options):
    """Return the folder of a study, begun now or before, with these tasks and this share of persons held out.

    ``options`` are those of :func:`voxmix.encoder_study.start_encoder_study`.
    """
    path = root / "study.yaml"
    if not path.exists():
        start_encoder_study(root, **options)
    config = read_config(path)
    config = replace(
        config,
        data=replace(config.data, validation_fraction=held_out),
        compute=replace(config.compute, trackers=()),
        workers=config.workers or 1,
        tasks=tasks,
    )
    write_config(config, path)
    return root
