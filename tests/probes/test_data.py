"""The cases of a task: who trains a probe and who judges it, and one sentence for what cannot be judged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from voxmix.errors import InputError
from voxmix.probe_tasks import ProbeTask
from voxmix.probes.data import check_apart
from voxmix.probes.persons import inner_split
from voxmix.probes.task_cases import probe_data

LABELS = ProbeTask(kind="labels", labels=("bright", "coin"))
SIDE = ProbeTask(kind="classes", column="side")


def test_training_persons_train_and_the_others_judge(make_pictures: Any) -> None:
    source = make_pictures(10)
    data = probe_data(LABELS, "findings", source)
    assert {case.part for case in data.cases if case.item.split == "validation"} == {"test"}
    assert {case.subject for case in data.part("train")} == {f"p{k}" for k in range(4, 10)}
    truth = data.truth("train")
    assert truth.shape == (12, 2)
    assert np.isnan(truth).sum() == 1  # the 14th image does not say whether it is bright
    assert data.names == ("bright", "coin")


def test_images_of_which_nothing_is_known_are_left_out_and_counted(make_pictures: Any) -> None:
    data = probe_data(ProbeTask(kind="labels", labels=("bright",)), "bright", make_pictures(10))
    assert len(data.cases) == 17
    assert any("3 of 20 images are left out" in note for note in data.notes)


def test_labels_without_names_are_all_that_can_be_judged(make_pictures: Any, change_pictures: Any) -> None:
    source = make_pictures(10)
    rare = change_pictures(source, labels=lambda item: {**item.labels, "rare": int(item.key == "k0-0019")})
    data = probe_data(ProbeTask(kind="labels"), "all", rare)
    assert "rare" not in data.names
    assert any("label rare" in note and "left out" in note for note in data.notes)


def test_domains_choose_images(make_pictures: Any) -> None:
    data = probe_data(replace(LABELS, domains=("B",)), "findings", make_pictures(20))
    assert {case.domain for case in data.cases} == {"B"}


def test_the_digest_tells_images_truths_parts_and_persons_but_not_their_pseudonyms(
    make_pictures: Any, change_pictures: Callable[..., Any]
) -> None:
    source = make_pictures(10)

    def of(source: Any, task: ProbeTask = LABELS) -> str:
        return probe_data(task, "findings", source).digest

    plain = of(source)
    assert of(change_pictures(source, person=lambda item: f"other salt {item.person}")) == plain
    assert of(replace(source, items=source.items[::-1])) == plain
    changes: list[dict[str, Any]] = [
        {"labels": lambda item: item.labels | ({"coin": 1 - item.labels["coin"]} if item.key.endswith("9") else {})},
        {"key": lambda item: item.key.replace("0011", "9999")},
        {"person": lambda item: "p6" if item.person == "p7" else item.person},
        {"domain": lambda item: "C" if item.person == "p7" else item.domain},
        {"split": lambda item: "train" if item.person == "p3" else item.split},
    ]  # fmt: skip
    others = [of(change_pictures(source, **change)) for change in changes]
    assert len({plain, *others, of(source, replace(LABELS, outside=True))}) == len(changes) + 2


@pytest.mark.parametrize(
    ("task", "change", "words"),
    [
        (LABELS, {"labels": lambda item: {**item.labels, "bright": 1}}, "label bright needs images with it and without"),
        (
            LABELS,
            {"labels": lambda item: {**item.labels, "coin": 0} if item.split == "validation" else item.labels},
            "there is none with it among persons held out",
        ),
        (ProbeTask(kind="labels", labels=("brihgt",)), {}, "did you mean 'bright'"),
        (ProbeTask(kind="labels"), {"labels": lambda item: {"coin": 1}}, "no label is known to be present and absent"),
        (replace(LABELS, domains=("C",)), {}, "no image has the domain 'C'"),
        (LABELS, {"split": lambda item: "train"}, "none with it and none without it among persons held out"),
        (LABELS, {"person": lambda item: "one"}, "1 persons are among those that train"),
        (
            LABELS,
            {"key": lambda item: "same" if item.key in ("k0-0000", "k0-0019") else item.key},
            "1 images are both among",
        ),
        (ProbeTask(kind="classes", column="sides"), {}, "did you mean 'side'"),
        (SIDE, {"labels": lambda item: {"side: left": 1, "side: right": 0}}, "needs images of two classes or more"),
        (
            SIDE,
            {"labels": lambda item: item.labels if item.split == "train" else {"side: left": 1, "side: right": 0}},
            "among persons held out, found",
        ),
        (SIDE, {"labels": lambda item: {"coin": 1}}, "no column of classes 'side'"),
        (ProbeTask(kind="masks"), {}, "the images have no masks"),
        (ProbeTask(kind="retrieval"), {}, "the images have no reports"),
        (ProbeTask(kind="reports"), {}, "the images have no reports"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_in_one_sentence(
    task: ProbeTask, change: dict[str, Any], words: str, make_pictures: Any, change_pictures: Any
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        probe_data(task, "findings", change_pictures(make_pictures(10), **change))
    assert "findings" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_nobody_in_training_has_is_left_out_and_said(
    make_pictures: Any, change_pictures: Any
) -> None:
    source = change_pictures(
        make_pictures(10),
        labels=lambda item: {"side: top": 1} if item.person == "p0" else item.labels,
    )
    data = probe_data(SIDE, "side", source)
    assert data.names == ("left", "right")
    assert not any(case.subject == "p0" for case in data.cases)
    assert any("'top'" in note for note in data.notes)


def test_no_case_that_judges_was_learned_from(make_pictures: Any) -> None:
    source = make_pictures(10)
    train, test = ([i.key for i in source.items if i.split == split] for split in ("train", "validation"))
    own = probe_data(LABELS, "findings", source)
    check_apart(own, train, {f"p{k}" for k in range(4, 10)})
    with pytest.raises(InputError, match="from 1 of its 8 images and from 0 of its persons"):
        check_apart(own, [*train, test[0]])
    with pytest.raises(InputError, match="from 0 of its 8 images and from 1 of its persons"):
        check_apart(own, train, {"p0"})
    other = probe_data(replace(LABELS, images="elsewhere.csv"), "findings", source)
    with pytest.raises(InputError, match="from 1 of its 20 images"):
        check_apart(other, train[:1])


def test_the_inner_split_is_of_whole_persons_and_the_same_under_any_salt(
    make_pictures: Any, change_pictures: Any
) -> None:
    source = make_pictures(30)
    data = probe_data(LABELS, "findings", source)
    kept = inner_split(data, share=0.25, seed=3)
    train = data.part("train")
    persons = [
        {case.subject for case, own in zip(train, kept, strict=True) if own == side} for side in (True, False)
    ]
    assert len(persons[0]) == round(0.25 * 18)
    assert not persons[0] & persons[1]
    salted = probe_data(
        LABELS, "findings", change_pictures(source, person=lambda item: item.person[::-1] + "x")
    )
    assert np.array_equal(inner_split(salted, share=0.25, seed=3), kept)
    assert not np.array_equal(inner_split(data, share=0.25, seed=4), kept)


def test_one_training_person_is_too_few(make_pictures: Any, change_pictures: Any) -> None:
    source = change_pictures(
        make_pictures(10), person=lambda item: "one" if item.split == "train" else item.person
    )
    data = probe_data(LABELS, "findings", source)
    with pytest.raises(InputError, match="one training person"):
        inner_split(data, share=0.2, seed=0)
