"""The tools of others that an export can be written for, by name: data loaders of mixtures, and who reads an encoder's weights."""

from typing import Literal

Loader = Literal["torch", "monai", "torchio", "datasets", "webdataset", "streaming", "nnssl"]
"""One script in ``feed_scripts`` for each. ``datasets`` is Hugging Face's library, by its ``interleave_datasets``."""

Names = Literal["monai-unetr", "monai-vit", "timm", "nnunet"]
"""Naming schemes of an encoder's weights; ``nnunet`` has those of ``monai-unetr``, and a trainer beside them."""
