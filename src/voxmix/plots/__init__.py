"""Plots of laws, mixtures, paths and scores: each function returns matplotlib Axes to go on with.

``voxmix.plots.curves(law)`` and the others draw into ``ax``, or into a new figure. What each shows is a function of
:mod:`voxmix.plots.data`, for whoever draws with another library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxmix.plots.draw import budgets as budgets
    from voxmix.plots.draw import curves as curves
    from voxmix.plots.draw import predictions as predictions
    from voxmix.plots.draw import scores as scores
    from voxmix.plots.draw import shares as shares
    from voxmix.plots.draw import strategies as strategies
    from voxmix.plots.draw import transfer as transfer

_PUBLIC = dict.fromkeys(
    ("budgets", "curves", "predictions", "scores", "shares", "strategies", "transfer"), "draw"
)

__all__ = list(_PUBLIC)

if not TYPE_CHECKING:  # a type checker then names a misspelled name

    def __getattr__(name: str) -> Any:
        if name not in _PUBLIC:
            raise AttributeError(f"module 'voxmix.plots' has no attribute {name!r}")
        return getattr(import_module(f"voxmix.plots.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
