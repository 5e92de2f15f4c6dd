"""Nested subsets: they nest, take whole persons, spread domains evenly, and do not depend on the order of files."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix._io import digest
from voxmix.errors import InputError
from voxmix.subsets import nested_subsets, person_order, read_keys, write_keys


@dataclass(frozen=True)
class Film:
    key: str
    person: str
    domain: str
    split: str = "train"
    shape: tuple[int, ...] = (8, 8)
    has_text: bool = False
    labels: dict[str, int] = field(default_factory=dict)


@st.composite
def collections(draw: st.DrawFn) -> list[Film]:
    """Persons with one to four films each, each person of one domain."""
    persons = draw(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 4)), min_size=1, max_size=60))
    return [
        Film(key=f"{n}-{k}", person=f"p{n}", domain=domain)
        for n, (domain, count) in enumerate(persons)
        for k in range(count)
    ]


@settings(deadline=None, max_examples=60)
@given(films=collections(), seed=st.integers(0, 5), data=st.data())
def test_subsets_nest_hold_whole_persons_and_are_the_shortest(
    films: list[Film], seed: int, data: st.DataObject
) -> None:
    sizes = sorted(data.draw(st.sets(st.integers(1, len(films)), max_size=4)))
    subsets = nested_subsets(films, [*sizes, "all"], seed=seed)
    persons = [{films[place].person for place in subset.items} for subset in subsets]
    order = person_order(films, seed=seed)
    for subset, members, larger in zip(subsets, persons, [*subsets[1:], subsets[-1]], strict=True):
        assert set(subset.items) <= set(larger.items)
        assert {place for place, film in enumerate(films) if film.person in members} == set(subset.items)
        assert len(members) == subset.persons
        assert members == set(order[: len(members)])
        last = sum(film.person == order[len(members) - 1] for film in films)
        wanted = len(films) if isinstance(subset.asked, str) else subset.asked
        assert subset.images - last < wanted <= subset.images
    assert subsets[-1].images == len(films)


@settings(deadline=None, max_examples=60)
@given(films=collections(), seed=st.integers(0, 5), data=st.data())
def test_every_prefix_holds_the_domains_as_the_whole_does(
    films: list[Film], seed: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(films)))
    (subset,) = nested_subsets(films, [size], seed=seed)
    whole = Counter(film.domain for film in films)
    for domain, count in whole.items():
        expected = count * subset.images / len(films)
        assert abs(subset.by_domain.get(domain, 0) - expected) <= 4 * len(
            whole
        )  # a person has four films at most


@settings(deadline=None, max_examples=40)
@given(films=collections(), data=st.data(), salt=st.integers(0, 10**6))
def test_pseudonyms_have_no_part_in_it(films: list[Film], data: st.DataObject, salt: int) -> None:
    renamed = [replace(film, person=digest([salt, film.person])) for film in films]
    size = data.draw(st.integers(1, len(films)))
    one, other = (nested_subsets(some, [size], seed=3)[0] for some in (films, renamed))
    assert one.items == other.items


@settings(deadline=None, max_examples=40)
@given(films=collections(), data=st.data())
def test_the_order_of_files_has_no_part_in_it(films: list[Film], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(films))
    size = data.draw(st.integers(1, len(films)))
    one, other = (nested_subsets(some, [size], seed=3)[0] for some in (films, shuffled))
    assert one.digest == other.digest
    assert {films[place].key for place in one.items} == {shuffled[place].key for place in other.items}


def test_seeds_choose_other_persons_and_equal_seeds_the_same() -> None:
    films = [Film(key=str(n), person=f"p{n}", domain="A") for n in range(50)]
    first, again, other = (nested_subsets(films, [10], seed=seed)[0] for seed in (0, 0, 1))
    assert first == again
    assert first.items != other.items
    assert first.epochs(25) == 2.5
    assert (first.repeats(25), first.repeats(7)) == (15, 0)


def test_a_person_of_two_domains_is_whole_and_stands_with_the_larger() -> None:
    films = [Film(key=f"{n}", person=f"p{n}", domain="A") for n in range(20)]
    films += [Film(key="x1", person="both", domain="B"), Film(key="x2", person="both", domain="A")]
    films += [Film(key="x3", person="both", domain="B")]
    for size in range(1, len(films) + 1):
        (subset,) = nested_subsets(films, [size], seed=1)
        assert sum(films[place].person == "both" for place in subset.items) in (0, 3)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([], "must be numbers of images"),
        ([64, 32], "rise"),
        ([8, 8], "do not repeat"),
        ([0, 8], "at least 1"),
        (["all", 8], "'all' last"),
        (["most"], "'all' last"),
        ([8, 51], r"asks for 51 images, and there are 50 training images; write all"),
    ],
)
def test_numbers_that_cannot_be_are_refused(samples: list[int | str], words: str) -> None:
    films = [Film(key=str(n), person=f"p{n}", domain="A") for n in range(50)]
    with pytest.raises(InputError, match=words):
        nested_subsets(films, samples, seed=0)


def test_keys_are_written_once_whatever_their_order_and_read_back(tmp_path: Path) -> None:
    films = [Film(key=f"{n}", person=f"p{n}", domain="A") for n in range(20)]
    (subset,) = nested_subsets(films, (7,), seed=0)
    keys = [films[place].key for place in subset.items]
    path = tmp_path / "subsets" / "one.json"
    assert write_keys(path, keys) == subset.digest
    before = path.stat()
    assert write_keys(path, reversed(keys)) == subset.digest
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert read_keys(path, subset=subset.digest) == frozenset(keys)
    with pytest.raises(InputError, match=f"the images of subset {subset.digest}, the run is of subset 0123"):
        read_keys(path, subset="0123")
    for text in ('{"kind": "subset", "format": 1, "keys": "abc"}', '{"kind": "subset", "format": 1}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="is damaged"):
            read_keys(path, subset=subset.digest)
    assert write_keys(path, keys) == subset.digest, "a damaged file is written again"
    assert read_keys(path, subset=subset.digest) == frozenset(keys)
    with pytest.raises(InputError, match="a subset without images"):
        write_keys(path, [])
