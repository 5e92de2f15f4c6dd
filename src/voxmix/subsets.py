"""Nested subsets of images by person: a larger subset holds every smaller one, and nobody is half in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import digest, naming_damage, read_versioned, write_json
from voxmix._random import stream
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.encoder_runs import Item

ALL = "all"
_KIND, _FORMAT = "subset", 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Subset:
    """Some of the training images.

    Attributes:
        asked: how many images were asked for, or "all".
        items: places of its images in the list that it was chosen from, rising.
        persons: how many persons they show.
        by_domain: domain to images.
        digest: of the keys of its images, whatever their order.
    """

    asked: int | str
    items: tuple[int, ...]
    persons: int
    by_domain: dict[str, int]
    digest: str

    @property
    def images(self) -> int:
        """Images that it holds: at least those asked for, as whole persons are taken."""
        return len(self.items)

    def epochs(self, draws: int) -> float:
        """Return how often each image is drawn, in the mean."""
        return draws / self.images

    def repeats(self, draws: int) -> int:
        """Return how many draws give an image that was drawn before; every epoch draws each image once."""
        return max(draws - self.images, 0)


def person_order(items: Sequence[Item], *, seed: int) -> tuple[str, ...]:
    """Return the persons in the order in which subsets take them: at random, each domain spread evenly.

    The k-th image of a domain of n stands at time (k + u) / n, with one u of each domain; a person stands where the first
    of their images in the domain that most of them are of does. So every prefix holds the domains as the whole does, but
    for about one person each. The order depends on who shows what, domains and seed, not on the order of the items, nor on
    pseudonyms: these differ from cache to cache, and a person is known by the first key of their images.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    known: dict[str, str] = {}
    for item in items:
        counts[item.person][item.domain] += 1
        known[item.person] = min(item.key, known.get(item.person, item.key))
    home = {person: min(of, key=lambda name: (-of[name], name)) for person, of in counts.items()}
    times: dict[str, float] = {}
    for domain in sorted(set(home.values())):
        persons = sorted((person for person in counts if home[person] == domain), key=known.__getitem__)
        generator = stream(seed, "subsets", domain)
        shuffled = [persons[place] for place in generator.permutation(len(persons))]
        sizes = [counts[person].total() for person in shuffled]
        total, before, shift = sum(sizes), 0, float(generator.random())
        for person, size in zip(shuffled, sizes, strict=True):
            times[person] = (before + shift) / total
            before += size
    return tuple(sorted(times, key=lambda person: (times[person], known[person])))


def nested_subsets(items: Sequence[Item], samples: Sequence[int | str], *, seed: int) -> tuple[Subset, ...]:
    """Return a subset for each number of ``samples``: the shortest prefix of the persons with so many images.

    Args:
        items: the training images.
        samples: numbers of images, rising; "all" may be the last.
        seed: decides who comes first; it is the study's, not that of a run.

    Raises:
        InputError: no images, numbers that do not rise, or more images than there are.
    """
    check_samples(samples)
    if not items:
        raise InputError("there is no training image to choose subsets from; prepare images first")
    if too_many := [n for n in samples if not isinstance(n, str) and n > len(items)]:
        raise InputError(
            f"samples asks for {too_many[0]:,} images, and there are {len(items):,} training images; write {ALL} in its place"
        )
    places: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        places[item.person].append(place)
    order = person_order(items, seed=seed)
    found = []
    for asked in samples:
        wanted = len(items) if isinstance(asked, str) else asked
        chosen: list[int] = []
        persons = 0
        for person in order:
            if len(chosen) >= wanted:
                break
            chosen += places[person]
            persons += 1
        found.append(
            Subset(
                asked=asked,
                items=tuple(sorted(chosen)),
                persons=persons,
                by_domain=dict(sorted(Counter(items[place].domain for place in chosen).items())),
                digest=digest(sorted(items[place].key for place in chosen)),
            )
        )
    return tuple(found)


def check_samples(samples: Sequence[int | str]) -> None:
    """Refuse numbers of samples that are not whole, do not rise, or repeat.

    Raises:
        InputError: says which.
    """
    numbers = [n for n in samples if not isinstance(n, str)]
    if not samples or any(isinstance(n, str) and n != ALL for n in samples) or ALL in samples[:-1]:
        raise InputError(
            f"samples must be numbers of images, and '{ALL}' last if at all, got {list(samples)}; e.g. [64, 256, 1024, {ALL}]"
        )
    if any(isinstance(n, bool) or n < 1 for n in numbers) or numbers != sorted(set(numbers)):
        raise InputError(
            f"samples must be whole numbers of at least 1 that rise and do not repeat, got {list(samples)}"
        )


def write_keys(path: Path, keys: Iterable[str]) -> str:
    """Write the keys of a subset's images, sorted, and return their digest: that of :class:`Subset` and of a run's spec.

    A file that holds them already is left as it is.

    Raises:
        InputError: there is no key.
    """
    ordered = sorted(keys)
    if not ordered:
        raise InputError("a subset without images cannot be written; choose it with nested_subsets")
    found = digest(ordered)
    if not _holds(path, found):
        write_json(path, {"kind": _KIND, "format": _FORMAT, "digest": found, "keys": ordered})
    return found


def read_keys(path: Path, *, subset: str) -> frozenset[str]:
    """Return the keys of a subset's images, written by :func:`write_keys`.

    Args:
        subset: digest of the keys that are expected.

    Raises:
        InputError: no such file, a damaged one, or the keys of another subset.
    """
    value = read_versioned(path, kind=_KIND, version=_FORMAT)
    with naming_damage(path, remedy="delete it and give the study's command again"):
        keys = value["keys"]
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise TypeError("its keys are no list of texts")
    if (found := digest(sorted(keys))) != subset:
        raise InputError(
            f"{path} holds the images of subset {found}, the run is of subset {subset}; delete the file and give the study's "
            "command again"
        )
    return frozenset(keys)


def _holds(path: Path, subset: str) -> bool:
    try:
        return bool(read_keys(path, subset=subset))
    except InputError:
        return False
