"""The networks that can be pretrained, as rows. A new one is a file with a class, and a row."""

from dataclasses import dataclass

from voxmix._table import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRow:
    """One network.

    Attributes:
        about: what it is, in a sentence.
        made_by: "package.module:class". The class is called with (settings, domains=) and meets
            :class:`voxmix.encoders.networks.Autoencoder`; it is imported when a network is built, so that settings are
            read without torch.
        unread: settings of :class:`voxmix.run_settings.ModelSettings` that it does not read; they have no part in a run's id.
    """

    about: str
    made_by: str
    unread: tuple[str, ...] = ()


NETWORKS = Table(
    "networks",
    {
        "mae": NetworkRow(
            about="the encoder sees visible patches only; fast",
            made_by="voxmix.encoders.mae:MaskedAutoencoder",
        ),
        "unetr": NetworkRow(
            about="the paper's network, many times the cost",
            made_by="voxmix.encoders.unetr:UnetrAutoencoder",
            unread=("decoder_width", "decoder_depth", "decoder_heads"),
        ),
    },
)
"""Packages add rows by entry points of the group ``voxmix.networks``."""
