"""Libraries whose networks ours must equal; each test that needs one is skipped where it is not installed."""

import importlib
import sys
import warnings
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar

import pytest


class _Every(type):
    """A class that has every attribute, each one another."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _Anything(ModuleType):
    """A module that has every name: torchvision, which timm and open_clip import and a transformer never calls."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Every(name, (), {})


class _Finder:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name.split(".")[0] == "torchvision" else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Anything(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _imported(name: str) -> ModuleType:
    if find_spec(name.split(".")[0]) is None:
        pytest.skip(f"{name} is not installed")
    finder = _Finder()
    stub = name != "transformers" and find_spec("torchvision") is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if stub:
            if (
                find_spec("transformers") is not None
            ):  # it looks for torchvision once, and must not find this one
                importlib.import_module("transformers.utils").is_torchvision_available()
            sys.meta_path.append(finder)  # type: ignore[arg-type]
        try:
            return importlib.import_module(name)
        finally:
            if stub:
                sys.meta_path.remove(finder)  # type: ignore[arg-type]
                for each in [one for one in sys.modules if one.split(".")[0] == "torchvision"]:
                    del sys.modules[each]


@pytest.fixture(scope="session")
def transformers() -> ModuleType:
    return _imported("transformers")


@pytest.fixture(scope="session")
def timm_davit() -> ModuleType:
    return _imported("timm.models.davit")


@pytest.fixture(scope="session")
def open_clip_transformer() -> ModuleType:
    return _imported("open_clip.transformer")
