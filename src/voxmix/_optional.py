"""Imports of optional libraries, with the command that installs them."""

import getpass
import os
from importlib import import_module
from types import ModuleType

from voxmix.errors import MissingDependencyError


def require(module: str, *, extra: str) -> ModuleType:
    """Return the imported ``module``.

    Raises:
        MissingDependencyError: the library is not installed; names ``pip install "voxmix[extra]"``.
    """
    _name_user()
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingDependencyError(
            f"this step needs the library {missing!r}, which is not installed; "
            f'run: pip install "voxmix[{extra}]"'
        ) from error


def _name_user() -> None:
    """Name a user whose number has no name, as in a container: MONAI and torch's compiler ask for one and end without."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        os.environ["USER"] = "nobody"
