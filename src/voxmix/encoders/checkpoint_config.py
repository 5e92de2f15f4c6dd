"""A part of a checkpoint's configuration, read by kind; what our network does otherwise is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from voxmix.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """A part of a configuration, read by kind; ``where`` names it in messages."""

    values: Mapping[str, Any]
    where: str

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number above 0."""
        value = self.values.get(name, default)
        if isinstance(value, list) and value and all(each == value[0] for each in value):
            value = value[0]  # a square's edges
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            raise self.wrong(name, "a whole number above 0")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a number."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def word(self, name: str, default: str) -> str:
        """Return a word."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "a word")
        return value

    def wholes(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return whole numbers above 0."""
        value = self.values.get(name, list(default))
        if not isinstance(value, list) or not all(type(each) is int and 0 < each < 2**31 for each in value):
            raise self.wrong(name, "a list of whole numbers above 0")
        return tuple(value)

    def part(self, name: str) -> "Config":
        """Return a part of the configuration."""
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "a part with keys of its own")
        return Config(values=value, where=f"{self.where}: {name}")

    def must(self, name: str, found: object, expected: object) -> None:
        """Refuse what our network does otherwise."""
        if found != expected:
            raise InputError(
                f"{self.where}: {name} is {found!r}; voxmix's network of this family has {expected!r}, features would be others"
            )

    def wrong(self, name: str, expected: str) -> InputError:
        """Return what is to be raised of a value of another kind."""
        return InputError(
            f"{self.where}: {name} should be {expected}, got {self.values.get(name)!r}; copy the file again"
        )


def depth_of(config: Config, name: str, tensors: Mapping[str, Tensor]) -> int:
    """Return the number of blocks; not more than the weights could have, so that no damaged number builds a giant."""
    depth = config.whole(name, 12)
    if depth > len(tensors):
        raise InputError(
            f"{config.where}: {name} is {depth}, the weights hold {len(tensors)} tensors; copy both again"
        )
    return depth
