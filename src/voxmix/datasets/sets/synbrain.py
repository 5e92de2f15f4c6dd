"""SynBrain-PET: PET of the brain, in a folder for each class; no public reader of it is known."""

from functools import partial

from voxmix.datasets.dataset import DataSet
from voxmix.datasets.sets.class_folders import read_class_folders
from voxmix.datasets.task import Task

DATA_SET = DataSet(
    name="synbrain",
    title="SynBrain-PET",
    expects="a folder per class (name this layout: it looks like `folder`)",
    traps="the class is no domain",
    read=partial(read_class_folders, domain="BRAIN-PET"),
    tasks=(
        Task(
            name="synbrain-pet",
            kind="classification",
            domain="HN-PET",
            layout="class-folders",
            class_count=5,
            split=(348, 76, 76),
            choice="no public reader was found: a folder per class",
        ),
    ),
)
