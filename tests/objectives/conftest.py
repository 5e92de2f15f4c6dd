"""Losses of other libraries, from their files: without their packages, which import torchvision."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

_PACKAGES = ("lightly", "lightly.loss", "lightly.models", "lightly.models.modules", "open_clip")


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], ModuleType]:
    """Return a function that gives a module of an optional library; the test is skipped without the library.

    The packages of lightly and open_clip import torchvision, whose wheel does not import beside a CPU torch; the files
    of their losses need torch alone. So packages are left empty while a file is imported.
    """
    return _load


def _load(name: str) -> ModuleType:
    top = name.split(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{top} is not installed")
    (root,) = spec.submodule_search_locations
    held = {package: sys.modules.pop(package, None) for package in _PACKAGES}
    try:
        for package in _PACKAGES:
            if package.split(".")[0] == top:
                sys.modules[package] = ModuleType(package)
                sys.modules[package].__path__ = [str(Path(root, *package.split(".")[1:]))]
        return importlib.import_module(name)
    finally:
        for package, module in held.items():
            sys.modules.pop(package, None)
            if module is not None:
                sys.modules[package] = module
