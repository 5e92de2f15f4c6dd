"""Data sets: what a user names as volumes, a table, a folder or a public data set, to one manifest.

A data set is one file in :mod:`voxmix.datasets.sets`, and its name below.
"""

LAYOUTS = (
    "folder",
    "bids",
    "nnunet",
    "decathlon",
    "nnssl",
    "amos",
    "brats",
    "hecktor",
    "bhsd",
    "totalsegmentator",
    "oasis",
    "synbrain",
    "medmnist",
)
"""What ``--layout`` knows: names of data sets and generic layouts, in the order of the documents."""
