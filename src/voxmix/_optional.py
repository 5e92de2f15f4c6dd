"""Imports of optional libraries, with the command that installs them."""

from importlib import import_module
from types import ModuleType

from voxmix.errors import MissingDependencyError


def require(module: str, *, extra: str) -> ModuleType:
    """Return the imported ``module``.

    Raises:
        MissingDependencyError: the library is not installed; names ``pip install "voxmix[extra]"``.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingDependencyError(
            f"this step needs the library {missing!r}, which is not installed; "
            f'run: pip install "voxmix[{extra}]"'
        ) from error
