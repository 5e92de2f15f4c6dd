"""The draws of a law's bootstrap in its JSON: millions of numbers as arrays in base64, of which every bit is kept.

So one file stays all that a law is.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.law.forms import LawParameters
from voxmix.law.numbers import numbers, packed, unpacked

_EVERY = "irreducible_loss"


def draws_to_dict(draws: LawParameters) -> dict[str, Any]:
    """Return the numbers of bootstrap draws by name, packed: (draw, ...), or (1, ...) where all draws are alike.

    ``irreducible_loss`` always has every draw.
    """
    return {
        name: packed(array[:1] if name != _EVERY and _alike(array) else array)
        for name, array in draws.by_draw().items()
    }


def _alike(array: Float[np.ndarray, "draw *shape"]) -> bool:
    """Return whether all draws have the same bits."""
    bits = np.ascontiguousarray(array).view(np.int64)
    return bool((bits == bits[:1]).all())


def draws_from_dict(value: dict[str, Any], parameters: LawParameters) -> LawParameters:
    """Return the bootstrap draws of a law with these parameters, packed or, in format 1, as nested lists.

    Raises:
        ValueError: a number has another shape than in the law.
    """
    whole = parameters.by_draw()
    missing = {"repeats": np.inf}
    saved = {
        name: unpacked(value[name])
        if isinstance(value[name], dict)
        else numbers(value[name], missing.get(name, np.nan))
        for name in whole
    }
    draws = len(saved[_EVERY])
    for name, array in saved.items():
        if array.shape[1:] != whole[name].shape or len(array) not in (1, draws):
            raise ValueError(
                f"bootstrap draws of {name} have shape {list(array.shape)}, expected {[draws, *whole[name].shape]}"
            )
    return parameters.changed(
        {name: np.broadcast_to(array, (draws, *array.shape[1:])) for name, array in saved.items()}
    )
