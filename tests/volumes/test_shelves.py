"""Folders inside a domain that hold many subjects, maps derived from an image, and more names of sessions."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from voxmix.datasets.lists import NO_NAMES
from voxmix.datasets.sessions import standards
from voxmix.datasets.sets.decathlon import read_decathlon
from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.sets.nnunet import read_nnunet
from voxmix.errors import InputError
from voxmix.volumes.persons.proposals import propose


def _domain(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        path = root / "ABD-CT" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("CT/{s}.nii.gz", "GT/{s}.nii.gz"),
        ("CT_images/{s}.nii.gz", "CT_masks/{s}.nii.gz"),
        ("averaged-training-images/{s}.nii.gz", "averaged-training-labels/{s}.nii.gz"),
        ("training/{s}/image.nii.gz", "training/{s}/label.nii.gz"),
        ("rawdata/{s}/{s}_ct.nii.gz", "derivatives/{s}/{s}_seg.nii.gz"),
    ],
)
def test_a_folder_of_many_subjects_is_no_subject(tmp_path: Path, image: str, label: str) -> None:
    people = ("p1", "p2", "p3")
    root = _domain(tmp_path, [name.format(s=who) for who in people for name in (image, label)])
    manifest = read_folder(root)
    assert {record.subject for record in manifest.records} == set(people)
    for record in manifest.records:
        assert record.label == root / "ABD-CT" / label.format(s=record.subject)


def test_predictions_and_structures_are_label_maps(tmp_path: Path) -> None:
    folders = ("predictions", "labelsPr", "labelsTs_pred", "inferTs", "structures")
    root = _domain(tmp_path, ["imagesTs/p1_0000.nii.gz", *(f"{folder}/p1.nii.gz" for folder in folders)])
    assert [record.path.name for record in read_folder(root).records] == ["p1_0000.nii.gz"]


def test_the_label_map_of_one_side_is_not_given_to_its_namesake_on_the_other(tmp_path: Path) -> None:
    root = _domain(tmp_path, ["training/1/image.nii.gz", "training/1/label.nii.gz", "test/1/image.nii.gz"])
    labels = {record.path.parent.parent.name: record.label for record in read_folder(root).records}
    assert labels["test"] is None
    assert labels["training"] is not None
    root = _domain(tmp_path / "b", ["imagesTr/1.nii.gz", "imagesTs/1.nii.gz", "labelsTr/1.nii.gz"])
    assert all(record.label is None for record in read_folder(root).records)


def test_tissue_maps_of_spm_are_no_scans(tmp_path: Path) -> None:
    kept = ("T1", "mT1", "c1_left", "p01")
    maps = ("c1T1", "rc2T1", "mwc3T1", "y_T1", "iy_T1", "mri/p0T1", "mri/mwp1T1")
    root = _domain(tmp_path, [f"s1/{name}.nii" for name in (*kept, *maps)])
    manifest = read_folder(root)
    assert {record.path.stem for record in manifest.records} == set(kept)
    assert len(manifest.set_aside) == len(maps)


def test_label_free_is_a_word_of_its_own(tmp_path: Path) -> None:
    assert len(read_folder(_domain(tmp_path, ["label-free_p1.nii.gz"])).records) == 1


@pytest.mark.parametrize(
    "endings", [("_I123", "_I456"), ("_02.01.2019", "_04.03.2020"), ("L", "R"), ("_insp", "_exp")]
)
def test_more_names_of_sessions(endings: tuple[str, str]) -> None:
    proposal = propose([[f"pat{i:02d}{ending}" for i in range(1, 5) for ending in endings]])
    assert proposal is not None
    assert len(set(proposal.persons.values())) == 4


def test_sessions_of_oasis_3() -> None:
    found = [pattern.fullmatch("OAS30001_MR_d0129") for _, pattern in standards()]
    assert [match[1] for match in found if match] == ["OAS30001"]


@pytest.mark.parametrize(
    "names", [("{s}",), ("{s}_t1", "{s}_t1ce", "{s}_flair"), ("func/{s}_bold", "dwi/{s}_dwi")]
)
def test_a_folder_per_subject_is_asked_about_where_files_repeat_its_name(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for who in ("p1", "p2", "p3"):
        for name in names:
            path = tmp_path / who / f"{name.format(s=who)}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    with pytest.raises(InputError, match="folder per subject"):
        read_folder(tmp_path)


def test_entries_that_name_no_image_do_not_stop_a_list(tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "a.nii.gz").write_bytes(b"")
    good = {"image": "imagesTr/a.nii.gz"}
    odd = [5, None, [], {"image": 5}, {"image": ""}, {"label": "x.nii.gz"}, {"image": ["a", 7]}]
    listed = {"name": "x", "modality": {"0": "CT"}, "training": [good, *odd, {"image": "y" * 5000}]}
    (tmp_path / "dataset.json").write_text(json.dumps(listed), encoding="utf-8")
    manifest = read_decathlon(tmp_path)
    assert len(manifest.records) == 1
    assert [item.reason for item in manifest.set_aside].count(NO_NAMES) == len(odd)
    listed = {
        "channel_names": {"0": "CT"},
        "dataset": {"a": {"images": "imagesTr/a.nii.gz"}, "b": 5, "c": {}},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(listed), encoding="utf-8")
    manifest = read_nnunet(tmp_path)
    assert len(manifest.records) == 1
    assert [item.reason for item in manifest.set_aside] == [NO_NAMES, NO_NAMES]


@pytest.mark.parametrize(
    ("images", "labels"), [("images", "labels"), ("CT", "GT"), ("scans", "Segmentations")]
)
def test_label_maps_in_a_folder_of_their_own_are_no_domain(tmp_path: Path, images: str, labels: str) -> None:
    for folder in (images, labels):
        (tmp_path / folder).mkdir()
        for who in ("a", "b"):
            (tmp_path / folder / f"{who}.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=f"{labels} is called as folders of label maps are"):
        read_folder(tmp_path)
    assert read_folder(tmp_path, exclude=[labels]).domains == (images,)
