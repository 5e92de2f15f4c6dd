"""The data loaders of others that a mixture can be written for: one name and one script in ``feed_scripts`` for each."""

from typing import Literal

Loader = Literal["torch", "monai", "torchio", "datasets", "webdataset", "streaming", "nnssl"]
"""``datasets`` is Hugging Face's library, by its ``interleave_datasets``."""
