"""Arrays as plain numbers for JSON, where a missing number is null, and back."""

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return arrays as nested lists, with null for NaN and infinity."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim:
        return (
            [plain(item) for item in array]
            if array.ndim > 1 or not np.isfinite(array).all()
            else array.tolist()
        )
    return float(array) if np.isfinite(array) else None


def numbers(value: Any, missing: float = np.nan) -> np.ndarray:
    """Return the array of nested lists where null means ``missing``."""
    array = np.array(value, dtype=np.float64)
    return np.where(np.isnan(array), missing, array)
