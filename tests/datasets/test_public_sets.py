"""Miniatures of public layouts give the right domains, subjects and labels, and their traps are stepped around."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from voxmix.datasets.sources import detect_layout, read_layout, read_sources
from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes import IntensityRule, Manifest, Recipe
from voxmix.volumes.manifest_files import read_csv, read_table, write_csv, write_table
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.reading.read import read_volume
from voxmix.volumes.volume import UnreadableVolumeError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def found(manifest: Manifest) -> set[tuple[str, str, str, str | None]]:
    return {(r.domain, r.subject, r.path.name, r.label and r.label.name) for r in manifest.records}


def test_amos_modality_is_by_number(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "imagesTr/amos_0001.nii.gz",
        "labelsTr/amos_0001.nii.gz",
        "imagesTr/amos_0500.nii.gz",
        "imagesVa/amos_0501.nii.gz",
        "labelsVa/amos_0501.nii.gz",
        "imagesTs/amos_0600.nii.gz",
        "imagesTs/amos_5514.nii.gz",
    )
    manifest = read_layout("amos", tmp_path)
    assert found(manifest) == {
        ("ABD-CT", "amos_0001", "amos_0001.nii.gz", "amos_0001.nii.gz"),
        ("ABD-CT", "amos_0500", "amos_0500.nii.gz", None),
        ("ABD-MRI", "amos_0501", "amos_0501.nii.gz", "amos_0501.nii.gz"),
        ("ABD-MRI", "amos_0600", "amos_0600.nii.gz", None),
    }
    assert [s.path.name for s in manifest.set_aside] == ["amos_5514.nii.gz"]


def test_brats_visits_of_one_person_stay_together(tmp_path: Path) -> None:
    for visit in ("BraTS-GLI-00002-000", "BraTS-GLI-00002-001", "BraTS-GLI-00003-000"):
        touch(
            tmp_path,
            *(f"train/{visit}/{visit}-{kind}.nii.gz" for kind in ("t1n", "t1c", "t2w", "t2f", "seg")),
        )
    manifest = read_layout("brats", tmp_path)
    assert manifest.counts() == {"BRAIN-T1": 6, "BRAIN-T2": 6}
    assert manifest.subjects("BRAIN-T1") == ("BraTS-GLI-00002", "BraTS-GLI-00003")
    assert all(r.label is not None and r.label.name.endswith("-seg.nii.gz") for r in manifest.records)


def test_hecktor_patient_in_two_tasks_is_taken_once(tmp_path: Path) -> None:
    for task in ("Task 1", "Task 2"):
        touch(
            tmp_path,
            *(f"{task}/CHUM-001/{name}.nii.gz" for name in ("CHUM-001__CT", "CHUM-001__PT", "CHUM-001")),
        )
    touch(tmp_path, "Task 2/MDA-7/MDA-7__CT.nii.gz")
    manifest = read_layout("hecktor", tmp_path)
    assert found(manifest) == {
        ("HN-CT", "CHUM-001", "CHUM-001__CT.nii.gz", "CHUM-001.nii.gz"),
        ("HN-PET", "CHUM-001", "CHUM-001__PT.nii.gz", "CHUM-001.nii.gz"),
        ("HN-CT", "MDA-7", "MDA-7__CT.nii.gz", None),
    }
    assert len(manifest.set_aside) == 2


def test_bhsd(tmp_path: Path) -> None:
    touch(
        tmp_path, "label_192/images/a.nii.gz", "label_192/ground truths/a.nii.gz", "label_192/images/b.nii.gz"
    )
    assert found(read_layout("bhsd", tmp_path)) == {
        ("HEAD-CT", "a", "a.nii.gz", "a.nii.gz"),
        ("HEAD-CT", "b", "b.nii.gz", None),
    }


def test_oasis_orientation_is_put_right(tmp_path: Path) -> None:
    data = np.zeros((12, 10, 8), np.int16)
    data[2:9, 3:8, 1:6] = np.random.default_rng(0).integers(10, 90, (7, 5, 5))
    for number, visit in ((1, 1), (1, 2), (2, 1)):
        name = f"OAS1_{number:04d}_MR{visit}"
        path = tmp_path / f"disc1/{name}/PROCESSED/MPRAGE/SUBJ_111/{name}_mpr_n4_anon_sbj_111.hdr"
        path.parent.mkdir(parents=True)
        nibabel.Spm99AnalyzeImage(data + number * 10 + visit, np.diag([-1.0, 1, 1, 1])).to_filename(path)
    session = tmp_path / "disc1" / "OAS1_0001_MR1"
    (session / "OAS1_0001_MR1.txt").write_text(
        "SESSION ID:  OAS1_0001_MR1\nAGE:  74\nCDR:  0.5\nMMSE:  29\n", encoding="utf-8"
    )
    (tmp_path / "disc1" / "OAS1_0002_MR1" / "OAS1_0002_MR1.txt").write_text(
        "AGE:  20\nCDR:  \nMMSE: \n", encoding="utf-8"
    )
    manifest = read_layout("oasis", tmp_path)
    assert [r.category for r in manifest.records] == ["CDR>0", "", ""]
    (tmp_path / "oasis_cross-sectional.csv").write_text(
        "ID,M/F,CDR\nOAS1_0001_MR1,F,0\nOAS1_0001_MR2,F,2\nOAS1_0002_MR1,M,\n", encoding="utf-8"
    )
    manifest = read_layout("oasis", tmp_path)
    assert [r.category for r in manifest.records] == ["CDR=0", "CDR>0", ""]
    (tmp_path / "oasis_cross-sectional.csv").write_bytes(  # Saved by an old spreadsheet.
        "ID;Größe;CDR\nOAS1_0001_MR1;1;0\nOAS1_0001_MR2;1;2\nOAS1_0002_MR1;1;nan\n".encode("cp1252")
    )
    assert read_layout("oasis", tmp_path) == manifest
    assert manifest.subjects("BRAIN-T1") == ("OAS1_0001", "OAS1_0002")
    assert len(manifest.records) == 3
    recipe = Recipe(
        spacing_mm=1.0,
        min_shape=(1, 1, 1),
        crop_foreground=False,
        intensity={"BRAIN-T1": IntensityRule(kind="window", low=0, high=200)},
    )
    write_csv(manifest, tmp_path / "table.csv")
    again = read_csv(tmp_path / "table.csv")
    assert again == manifest
    cache = prepare(again.split(seed=0), recipe=recipe, root=tmp_path / "cache").cache
    volume = cache.volumes[0]
    # Stored axes go to anterior, superior and left: prepared ones to right, anterior, superior.
    assert volume.shape == (8, 12, 10)
    geometry = cache.geometry(volume)
    assert (geometry.axes, geometry.flipped) == ((2, 0, 1), (True, False, False))


def test_bids_sessions_belong_to_one_subject(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii.gz",
        "sub-02/pet/sub-02_trc-FDG_pet.nii.gz",
        "sub-02/func/sub-02_task-rest_bold.nii.gz",
        "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz",
    )
    assert found(read_layout("bids", tmp_path)) == {
        ("T1", "sub-01", "sub-01_ses-a_T1w.nii.gz", None),
        ("FLAIR", "sub-01", "sub-01_ses-b_FLAIR.nii.gz", None),
        ("PET", "sub-02", "sub-02_trc-FDG_pet.nii.gz", None),
    }


def test_nnunet_channels_are_domains(tmp_path: Path) -> None:
    root = tmp_path / "Dataset007_Brain Tumor"
    touch(
        root,
        "imagesTr/b_1_0000.nii.gz",
        "imagesTr/b_1_0001.nii.gz",
        "labelsTr/b_1.nii.gz",
        "imagesTs/b_2_0000.nii.gz",
    )
    write_json(root / "dataset.json", {"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz"})
    assert found(read_layout("nnunet", root)) == {
        ("Brain-Tumor-T1", "b_1", "b_1_0000.nii.gz", "b_1.nii.gz"),
        ("Brain-Tumor-T2", "b_1", "b_1_0001.nii.gz", "b_1.nii.gz"),
        ("Brain-Tumor-T1", "b_2", "b_2_0000.nii.gz", None),
    }


def test_decathlon_names_the_volume_of_4d_files(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/BRATS_001.nii.gz", "labelsTr/BRATS_001.nii.gz", "imagesTs/BRATS_485.nii.gz")
    described = {
        "name": "BRATS",
        "modality": {"0": "FLAIR", "1": "T1w"},
        "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}],
        "test": ["./imagesTs/BRATS_485.nii.gz", "./imagesTs/gone.nii.gz"],
    }
    write_json(tmp_path / "dataset.json", described)
    manifest = read_layout("decathlon", tmp_path)
    assert {(r.domain, r.subject, r.volume, r.label is not None) for r in manifest.records} == {
        ("BRATS-FLAIR", "BRATS_001", 0, True),
        ("BRATS-T1w", "BRATS_001", 1, True),
        ("BRATS-FLAIR", "BRATS_485", 0, False),
        ("BRATS-T1w", "BRATS_485", 1, False),
    }
    assert [s.reason for s in manifest.set_aside] == ["no such file", "no such file"]
    described["training"] = [{"image": "../../etc/passwd.nii.gz", "label": "x"}]
    write_json(tmp_path / "dataset.json", described)
    with pytest.raises(InputError, match="outside itself"):
        read_layout("decathlon", tmp_path)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ('{"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}', {"X-CT": 2}),
        ('\ufeff{"channel_names": {"0": "CT"}}', {"X-CT": 2}),
        ('{"channel_names": {"0": "CT",}, "labels": {"a, }": [1, 2,],},}', {"X-CT": 2}),
        ('{"channel_names": {"CT": 0}}', {"X-CT": 2}),
        ('{"channel_names": {"CT": "0"}}', {"X-CT": 2}),
        ('{"channel_names": ["CT"]}', {"X-CT": 2}),
        ('{"labels": {"background": 0, "liver": [1, 2], "ignore": 3}}', {"X-0000": 2}),
        ("", {"X-0000": 2}),
    ],
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".NII.GZ", ".nrrd"])
def test_nnunet_lists_as_people_write_them(
    tmp_path: Path, text: str, counts: dict[str, int], suffix: str
) -> None:
    root = tmp_path / "Dataset001_X"
    for case in ("ct_0003", "scan_2024_0000"):
        touch(
            root,
            f"imagesTr/{case}_0000{suffix}",
            f"labelsTr/{case}{suffix}",
            f"imagesTr/._{case}_0000{suffix}",
        )
    touch(root, "__MACOSX/imagesTr/._a_0000.nii.gz", "imagesTr/Thumbs.db", "imagesTr/@eaDir/x_0000.nii.gz")
    if text:
        (root / "dataset.json").write_text(text, encoding="utf-8")
    manifest, layout = read_sources([root])
    assert (layout, manifest.counts(), manifest.set_aside) == (("nnunet",), counts, ())
    assert {r.subject for r in manifest.records} == {"ct_0003", "scan_2024_0000"}
    assert all(r.label is not None for r in manifest.records)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"dataset\.json is not JSON"),
        ("[" * 100_000, r"dataset\.json is not JSON"),
        ('{"numTraining": ' + "9" * 5000 + "}", r"dataset\.json is not JSON"),
        ('{"channel_names": {"CT": "MR"}}', "a name per number"),
        ('{"dataset": {"a": {"label": "x"}}}', "does not name its images"),
        ('{"dataset": {"a": 3}}', "does not name its images"),
        ('{"dataset": {}}', "no volumes of layout 'nnunet'"),
    ],
)
def test_nnunet_lists_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_sources([tmp_path])


def test_nnunet_list_of_files_elsewhere_is_followed_and_said(tmp_path: Path) -> None:
    touch(tmp_path, "far/a.nii.gz", "far/a_l.nii.gz", "set/b.nii.gz")
    listed = {
        "a": {"images": ["../far/a.nii.gz"], "label": "../far/a_l.nii.gz"},
        "b": {"images": ["b.nii.gz"], "label": "gone.nii.gz"},
    }
    write_json(
        tmp_path / "set" / "dataset.json", {"channel_names": {"0": "CT"}, "name": "S", "dataset": listed}
    )
    with pytest.warns(VoxmixWarning, match=r"names 2 files outside its folder"):
        manifest, layout = read_sources([tmp_path / "set"])
    assert layout == ("nnunet",)
    assert found(manifest) == {("S-CT", "a", "a.nii.gz", "a_l.nii.gz"), ("S-CT", "b", "b.nii.gz", None)}
    assert [(s.path.name, s.reason) for s in manifest.set_aside] == [
        ("gone.nii.gz", "label map: no such file")
    ]


def test_decathlon_lists_as_people_write_them(tmp_path: Path) -> None:
    root = tmp_path / "Task"
    touch(root, *(f"imagesTr/{name}.nii.gz" for name in "abcdex"), "imagesTs/t.nii.gz", "labelsTr/a.nii.gz")
    touch(root, "imagesTr/._a.nii.gz", "labelsTr/b.nii.gz")
    (tmp_path / "link").symlink_to(root)
    training = [
        {"image": str(root / "imagesTr/a.nii.gz"), "label": str(root / "labelsTr/a.nii.gz")},
        {"image": ".\\imagesTr\\b.nii.gz", "label": ".\\labelsTr\\b.nii.gz"},
        {"image": "imagesTr/c.nii.gz"},
        {"image": "imagesTr/d.nii.gz", "label": "labelsTr/d.nii.gz"},
        "imagesTr/e.nii.gz",
        "imagesTr/._a.nii.gz",
    ]
    described = {
        "name": "T",
        "modality": {"0": "CT"},
        "training": training,
        "test": [{"image": "imagesTs/t.nii.gz"}],
    }
    write_json(root / "dataset.json", described)
    for place in (root, tmp_path / "link"):
        manifest = read_layout("decathlon", place)
        assert {r.path.name: r.label is not None for r in manifest.records} == {
            f"{name}.nii.gz": name in "ab" for name in "abcdet"
        }
        assert {s.path.name: s.reason for s in manifest.set_aside} == {
            "d.nii.gz": "label map: no such file",
            "._a.nii.gz": "a file of an operating system, no volume",
            "x.nii.gz": "not in the data set's list (dataset.json)",
        }
    for outside in ("../x.nii.gz", "/etc/x.nii.gz", "C:\\data\\x.nii.gz", "imagesTr\\..\\..\\x.nii.gz"):
        write_json(root / "dataset.json", {**described, "training": [outside]})
        with pytest.raises(InputError, match="outside itself"):
            read_layout("decathlon", root)


def test_a_decathlon_case_may_end_in_four_digits(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/lung_2024.nii.gz", "labelsTr/lung_2024.nii.gz")
    training = [{"image": "./imagesTr/lung_2024.nii.gz", "label": "./labelsTr/lung_2024.nii.gz"}]
    write_json(tmp_path / "dataset.json", {"name": "L", "modality": {"0": "CT"}, "training": training})
    assert detect_layout(tmp_path) == "decathlon"


def test_bids_takes_scans_alone(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"sub-01/anat/sub-01_{name}" for name in (
            "T1w.NII.GZ", "part-mag_T2w.nii", "part-phase_T2w.nii", "part-imag_T2w.nii", "inv-1_MP2RAGE.nii.gz",
            "UNIT1.nii.gz", "T1map.nii.gz", "T1w_seg.nii.gz", "mod-T1w_defacemask.nii.gz", "label-GM_probseg.nii.gz",
            "PDw.nii.gz",
        )),
        "sub-01/anat/._sub-01_T1w.nii.gz", "sub-01/ses-1/pet/sub-01_ses-1_pet.nii.gz", "sub-01/func/sub-01_bold.nii.gz",
        "__MACOSX/sub-02/anat/._sub-02_T1w.nii.gz", "sourcedata/sub-03/anat/sub-03_T1w.nii.gz",
    )  # fmt: skip
    (tmp_path / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz").symlink_to("../../.git/annex/objects/x")
    manifest, layout = read_sources([tmp_path])
    assert layout == ("bids",)
    assert found(manifest) == {
        ("T1", "sub-01", "sub-01_T1w.NII.GZ", "sub-01_T1w_seg.nii.gz"),
        ("T2", "sub-01", "sub-01_part-mag_T2w.nii", None),
        ("PD", "sub-01", "sub-01_PDw.nii.gz", None),
        ("PET", "sub-01", "sub-01_ses-1_pet.nii.gz", None),
    }
    assert len(manifest.set_aside) == 8
    link = next(s for s in manifest.set_aside if "FLAIR" in s.path.name)
    assert link.reason.startswith("a link to a file that is not there")


def test_totalsegmentator(tmp_path: Path) -> None:
    for n in range(3):
        touch(tmp_path, *(f"s{n}/segmentations/{name}.nii.gz" for name in ("liver", "spleen")))
        touch(tmp_path, f"s{n}/{'mri' if n == 2 else 'ct'}.nii.gz", "meta.csv")
    touch(tmp_path, "s0/combined_labels.nii.gz", "s0/pet.nii.gz", "s1/segmentation.nii.gz")
    manifest, layout = read_sources([tmp_path])
    assert layout == ("totalsegmentator",)
    assert found(manifest) == {
        ("TOTALSEGMENTATOR-CT", "s0", "ct.nii.gz", None),
        ("TOTALSEGMENTATOR-CT", "s1", "ct.nii.gz", None),
        ("TOTALSEGMENTATOR-MR", "s2", "mri.nii.gz", None),
    }
    assert sum(s.is_label for s in manifest.set_aside) == 8
    assert [s.path.name for s in manifest.set_aside if not s.is_label] == ["pet.nii.gz"]


@pytest.mark.parametrize(
    "layout", ["amos", "brats", "hecktor", "bhsd", "oasis", "medmnist", "folder", "bids", "nnunet"]
)
def test_what_systems_leave_is_never_an_image(tmp_path: Path, layout: str) -> None:
    files, _ = LAID_OUT[layout]
    if layout != "medmnist":
        touch(tmp_path, *files)
        before = {r.path for r in read_layout(layout, tmp_path).records}
    for name in files:
        place, file = Path(name).parent, Path(name).name
        left = (
            place / f"._{file}",
            place / "@eaDir" / file,
            Path("__MACOSX") / place / f"._{file}",
            place / "Thumbs.db",
        )
        touch(tmp_path, *map(str, left))
    if layout == "medmnist":
        with pytest.raises(InputError, match="no volumes of layout"):
            read_layout(layout, tmp_path)
    else:
        assert {r.path for r in read_layout(layout, tmp_path).records} == before


def test_one_image_in_two_formats_is_taken_once(tmp_path: Path) -> None:
    touch(tmp_path, *(f"MR/p1/brain.{suffix}" for suffix in ("mgz", "nii.gz", "nii")), "MR/p2/brain.mgz")
    manifest = read_layout("folder", tmp_path)
    assert [r.path.name for r in manifest.records] == ["brain.nii.gz", "brain.mgz"]
    assert sorted(s.reason.split(" of ")[0] for s in manifest.set_aside) == [
        ".mgz next to a .nii.gz",
        ".nii next to a .nii.gz",
    ]


def test_nnssl_variables_and_subjects_of_several_data_sets(tmp_path: Path) -> None:
    root = touch(tmp_path / "Dataset1_X", "a.nii.gz", "b.nii.gz").resolve()

    def subject(path: str) -> dict[str, Any]:
        return {"sessions": {"s1": {"images": [{"name": "x", "image_path": path, "modality": "T1w"}]}}}

    datasets = {
        "1": {"subjects": {"01": subject("$nnssl_raw/Dataset1_X/a.nii.gz")}},
        "2": {"subjects": {"01": subject(str(root / "b.nii.gz")), "02": subject("$OTHER/c.nii.gz")}},
    }
    write_json(
        root / "pretrain_data.json", {"collection_index": 1, "collection_name": "X", "datasets": datasets}
    )
    manifest = read_layout("nnssl", root)
    assert found(manifest) == {("T1w", "1/01", "a.nii.gz", None), ("T1w", "2/01", "b.nii.gz", None)}
    assert [s.reason for s in manifest.set_aside] == ["its folder is an unknown variable"]
    datasets["2"]["subjects"]["03"] = subject("$nnssl_raw/../../secret.nii.gz")
    write_json(root / "pretrain_data.json", {"datasets": datasets})
    with pytest.raises(InputError, match="outside itself"):
        read_layout("nnssl", root)


@pytest.mark.parametrize(
    "images",
    [
        [{"image_path": "a.nii.gz"}],
        [{"modality": "T1w"}],
        ["a.nii.gz"],
        7,
        [{"image_path": 3, "modality": "T1"}],
    ],
)
def test_lists_of_another_shape_are_refused(tmp_path: Path, images: Any) -> None:
    touch(tmp_path, "a.nii.gz")
    subjects = {"01": {"sessions": {"s1": {"images": images}}}}
    write_json(tmp_path / "pretrain_data.json", {"datasets": {"1": {"subjects": subjects}}})
    with pytest.raises(InputError, match=r"not as layout 'nnssl' has it|no volumes"):
        read_layout("nnssl", tmp_path)


def test_medmnist_keeps_its_split_and_leaves_the_test_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        f"{part}_{what}": rng.integers(
            0, 255, (count, 12, 12, 12) if what == "images" else (count, 1)
        ).astype(np.uint8)
        for part, count in (("train", 4), ("val", 2), ("test", 3))
        for what in ("images", "labels")
    }
    np.savez_compressed(tmp_path / "organmnist3d.npz", **arrays)
    manifest = read_layout("medmnist", tmp_path)
    assert manifest.counts("train") == {"ORGANMNIST3D": 4}
    assert manifest.counts("validation") == {"ORGANMNIST3D": 2}
    labels = np.concatenate([arrays["train_labels"], arrays["val_labels"]]).ravel()
    assert {r.volume: r.category for r in manifest.records} == {i: str(n) for i, n in enumerate(labels)}
    recipe = Recipe(
        spacing_mm=1.0,
        min_shape=(1, 1, 1),
        crop_foreground=False,
        intensity={"ORGANMNIST3D": IntensityRule(kind="window", low=0, high=255)},
    )
    cache = prepare(manifest.split(seed=0), recipe=recipe, root=tmp_path / "cache").cache
    for side, name in (("train", "train_images"), ("validation", "val_images")):
        found = sorted(cache.array(v).astype(np.float32).sum() for v in cache.select("ORGANMNIST3D", side))
        np.testing.assert_allclose(found, sorted(arrays[name].sum(axis=(1, 2, 3)) / 255), rtol=1e-3)
    with pytest.raises(UnreadableVolumeError, match="4D: 9 volumes"):
        read_volume(tmp_path / "organmnist3d.npz")
    with pytest.raises(UnreadableVolumeError, match=r"volume 9 was asked for, the file has 9"):
        read_volume(tmp_path / "organmnist3d.npz", volume=9)


def test_synbrain_classes_are_folders_of_one_domain(tmp_path: Path) -> None:
    touch(tmp_path, "AD/s1.nii.gz", "CN/s2/pet.nii.gz", "CN/s1.nii.gz", "CN/s3.mnc")
    manifest = read_layout("synbrain", tmp_path)
    assert {(r.domain, r.subject, r.category) for r in manifest.records} == {
        ("BRAIN-PET", "s1", "AD"),
        ("BRAIN-PET", "s2", "CN"),
        ("BRAIN-PET", "s1", "CN"),
    }
    assert [(s.domain, s.reason) for s in manifest.set_aside] == [
        ("BRAIN-PET", "files that end in .mnc are not read")
    ]


def test_sessions_of_synbrain_that_a_standard_joins_are_said(tmp_path: Path) -> None:
    touch(tmp_path, "AD/sub-1_ses-1.nii.gz", "CN/sub-1_ses-2.nii.gz", "CN/s3.nii.gz")
    manifest = read_layout("synbrain", tmp_path)
    assert manifest.subjects("BRAIN-PET") == ("s3", "sub-1")
    assert [note.split(":")[0] for note in manifest.notes] == [
        "2 subjects are sessions of 1 persons by the names of BIDS"
    ]


LAID_OUT: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "amos": (("imagesTr/amos_0001.nii.gz",), {"dataset.json": {"name": "AMOS", "training": []}}),
    "brats": (("BraTS-GLI-00002-000/BraTS-GLI-00002-000-t1n.nii.gz",), {}),
    "hecktor": (("Task 1/CHUM-001/CHUM-001__CT.nii.gz",), {}),
    "bhsd": (("label_192/images/a.nii.gz",), {}),
    "oasis": (("disc1/OAS1_0001_MR1/PROCESSED/MPRAGE/SUBJ_111/x.hdr",), {}),
    "medmnist": (("organmnist3d_64.npz",), {}),
    "totalsegmentator": (("s1/ct.nii.gz", "s1/segmentations/liver.nii.gz"), {}),
    "bids": (("sub-01/anat/sub-01_T1w.nii.gz",), {"dataset_description.json": {"Name": "x"}}),
    "nnunet": (
        ("imagesTr/b_1_0000.nii.gz", "labelsTr/b_1.nii.gz"),
        {"dataset.json": {"channel_names": {"0": "T1"}, "file_ending": ".nii.gz"}},
    ),
    "decathlon": (
        ("imagesTr/hippocampus_001.nii.gz",),
        {"dataset.json": {"modality": {"0": "MRI"}, "training": [], "test": []}},
    ),
    "nnssl": ((), {"pretrain_data.json": {"datasets": {}}}),
    "folder": (("ABD-CT/p1/scan.nii.gz", "BRAIN-T1/p1.nii.gz"), {}),
}


@pytest.mark.parametrize("layout", LAID_OUT)
def test_layouts_are_told_apart_by_their_names(tmp_path: Path, layout: str) -> None:
    files, described = LAID_OUT[layout]
    touch(tmp_path, *files)
    for name, value in described.items():
        write_json(tmp_path / name, value)
    assert detect_layout(tmp_path) == layout


def test_an_old_nnunet_set_is_no_decathlon(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/case_001_0000.nii.gz")
    write_json(
        tmp_path / "dataset.json",
        {"modality": {"0": "CT"}, "training": [{"image": "./imagesTr/case_001.nii.gz"}]},
    )
    assert detect_layout(tmp_path) == "nnunet"


def test_subjects_of_several_sources_are_different_people(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "one/CT/p1.nii.gz",
        "one/CT/p2.nii.gz",
        "two/CT/p1.nii.gz",
        "two/US/p3.nii.gz",
        "b/two/X/a.nii",
    )
    manifest, layouts = read_sources([tmp_path / "one", tmp_path / "two"], rename={"US": "ULTRASOUND"})
    assert layouts == ("folder", "folder")
    assert manifest.subjects("CT") == ("one/p1", "one/p2", "two/p1")
    assert manifest.domains == ("CT", "ULTRASOUND")
    with pytest.raises(InputError, match="two sources are called 'two'"):
        read_sources([tmp_path / "two", tmp_path / "b" / "two"])
    with pytest.raises(InputError, match="no domain 'MR' to rename"):
        read_sources([tmp_path / "one"], rename={"MR": "X"})
    alone, _ = read_sources([tmp_path / "one"])
    assert alone.subjects("CT") == ("p1", "p2")


def test_json_manifests_keep_what_was_set_aside(tmp_path: Path) -> None:
    touch(tmp_path, "in/CT/p1/a.nii.gz", "in/CT/p1/a_seg.nii.gz", "in/CT/p2/b.nii.gz", "in/CT/p3.mnc")
    manifest = read_layout("folder", tmp_path / "in").split(seed=1)
    for place in (tmp_path / "in" / "m.json", tmp_path / "elsewhere" / "m.json"):
        write_table(manifest, place)
        assert read_table(place) == manifest
        assert [s.path.name for s in read_table(place).set_aside] == ["p3.mnc"]
    with pytest.raises(InputError, match=r"should end in \.csv or \.json"):
        write_table(manifest, tmp_path / "m.txt")


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ([{"path": "../a.nii", "domain": "CT", "subject": "p"}], "volume 1 .* outside the table's folder"),
        ([{"path": "a.nii", "domain": "CT"}], "volume 1 .* has no subject"),
        ([{"path": 3, "domain": "CT", "subject": "p"}], "objects of texts"),
        (["a.nii"], "objects of texts"),
        ({"a": 1}, "volumes of .* should be a list"),
        ([{"path": "a\0.nii", "domain": "CT", "subject": "p"}], "none of the 1 files"),
        ([{"path": "a" * 5000, "domain": "CT", "subject": "p"}], "none of the 1 files"),
        ([{"path": "a.nii", "domain": "../x", "subject": "p"}], "domain name"),
        ([{"path": "a.nii", "domain": "CT", "subject": "p", "volume": "9" * 5000}], "has volume"),
        ([{"path": "a.nii", "domain": "CT", "subject": "p", "affine": "nan " * 16}], "16 finite numbers"),
    ],
)
def test_json_manifests_refuse(tmp_path: Path, volumes: Any, message: str) -> None:
    touch(tmp_path, "a.nii")
    write_json(tmp_path / "m.json", {"kind": "manifest", "format": 1, "volumes": volumes})
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "m.json")


def test_csv_round_trip(tmp_path: Path) -> None:
    touch(tmp_path, "in/CT/p1/a.nii.gz", "in/CT/p1/a_seg.nii.gz", "in/CT/p2/b.nii.gz", "in/CT/p3/b.nii.gz")
    manifest = read_layout("folder", tmp_path / "in").split(seed=1)
    for table in (tmp_path / "in" / "m.csv", tmp_path / "elsewhere" / "m.csv"):
        write_csv(manifest, table)
        assert read_csv(table) == manifest
    assert "in/CT" not in (tmp_path / "in" / "m.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["amos", "bids", "oasis", "hecktor"])
def test_empty_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"no volumes of layout '{name}'"):
        read_layout(name, tmp_path)


def test_unknown_layout_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown layout 'x'; choose one of"):
        read_layout("x", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_layout("amos", tmp_path / "gone")
    with pytest.raises(InputError, match="no such file"):
        read_layout("decathlon", tmp_path)
