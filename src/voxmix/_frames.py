"""Tables of data frames: rows of pandas, Polars, PyArrow and others, none of which voxmix needs."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from voxmix.errors import InputError, MissingDependencyError

LIBRARIES = ("pandas", "polars", "pyarrow")
"""Libraries that a frame is made by, in the order in which they are looked for."""


@runtime_checkable
class Frame(Protocol):
    """A data frame, by what every library of them has."""

    @property
    def columns(self) -> Any: ...


_MISSING = ("NAType", "NaTType")  # pandas' own words for nothing


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a data frame as records; what is missing is None.

    A frame of pandas, Polars or PyArrow, or of any library with their ``to_dict(orient="records")``, ``to_dicts()`` or
    ``to_pylist()``; else what the interchange protocol (``__dataframe__``, ``__arrow_c_stream__``) hands to PyArrow, where
    that is installed. A mapping of columns will do, and rows themselves.

    Raises:
        InputError: it is no table.
    """
    try:
        found = _rows(frame)
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise InputError(f"cannot read {_kind(frame)} as a table ({error}); {_GIVE}") from None
    if found is None:
        raise InputError(f"{_kind(frame)} is no table; {_GIVE}")
    return [{str(name): _plain(value) for name, value in row.items()} for row in found]


_GIVE = "give a DataFrame of pandas, Polars or PyArrow, a mapping of columns, or a list of rows"


def _rows(frame: Any) -> list[Mapping[str, Any]] | None:
    if isinstance(frame, Mapping):
        columns = {name: list(values) for name, values in frame.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise ValueError(f"columns of different lengths {[len(v) for v in columns.values()]}")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for name, options in (("to_dicts", {}), ("to_pylist", {}), ("to_dict", {"orient": "records"})):
        if callable(method := getattr(frame, name, None)):
            return list(method(**options))
    if (
        isinstance(frame, Sequence)
        and not isinstance(frame, str)
        and all(isinstance(r, Mapping) for r in frame)
    ):
        return list(frame)
    if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__dataframe__"):
        if find_spec("pyarrow") is None:
            raise TypeError('its interchange protocol is read by PyArrow: pip install "voxmix[parquet]"')
        if hasattr(frame, "__arrow_c_stream__"):
            return list(import_module("pyarrow").table(frame).to_pylist())
        return list(import_module("pyarrow.interchange").from_dataframe(frame).to_pylist())
    return None


def frame_of(rows: Sequence[Mapping[str, Any]], *, library: str | None = None, index: str = "") -> Any:
    """Return rows as a data frame of ``library``; of the first that is installed, without one.

    ``index`` names the column that pandas has as its index.

    Raises:
        InputError: another library than :data:`LIBRARIES`.
        MissingDependencyError: it is not installed, or none is.
    """
    if library is not None and library not in LIBRARIES:
        raise InputError(f"library is {library!r}, expected one of {list(LIBRARIES)}")
    wanted = LIBRARIES if library is None else (library,)
    there = next((name for name in wanted if find_spec(name) is not None), None)
    if there is None:
        raise MissingDependencyError(
            f"a data frame needs {' or '.join(wanted)}, which is not installed; run: pip install {wanted[0]}, or use "
            "to_rows(), which gives the rows as they are"
        )
    columns = {name: [row.get(name) for row in rows] for name in (rows[0] if rows else {})}
    module = import_module(there)
    if there == "pyarrow":
        return module.table(columns)
    frame = module.DataFrame(columns)
    return frame.set_index(index) if there == "pandas" and index else frame


def _plain(value: Any) -> Any:
    if value is None or type(value).__name__ in _MISSING:
        return None
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__module__}.{type(value).__qualname__}"
