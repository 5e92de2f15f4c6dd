"""Every verdict that the headers of the shared cases of masks, nnU-Net, Decathlon and BIDS state."""

from collections.abc import Callable
from pathlib import Path

import pytest

from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.sources import read_source
from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes import Recipe
from voxmix.volumes.auditing.audit import audit
from voxmix.volumes.manifest_files import read_csv
from voxmix.volumes.preparing.prepare import prepare

pytestmark = pytest.mark.shared
RECIPE = Recipe(spacing_mm=4.0, min_shape=(8, 8, 8))


@pytest.fixture
def write(write_case: Callable[[str, Path], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return the function from the number of a case to a folder with its files."""

    return lambda name: write_case(name, tmp_path / "in")


def test_case14_no_mask_becomes_a_scan(write: Callable[[str], Path], tmp_path: Path) -> None:
    root = write("case14")
    manifest = read_folder(root)
    assert manifest.counts() == {"MADE-CT": 9, "MADE-MR": 3}
    assert {r.path.name: r.label and r.label.name for r in manifest.records} == {
        "ct.nii.gz": None,
        "image.nrrd": "Segmentation.seg.nrrd",
        "scan.nii.gz": "label.nii.gz",
        "t1.nii.gz": "t1_seg.nii.gz",
    }
    assert len(manifest.set_aside) == 12
    assert all(item.is_label for item in manifest.set_aside)
    made = prepare(manifest.split(seed=0), recipe=RECIPE, root=tmp_path / "cache")
    assert len(made.cache.volumes) == 12
    # Told that masks are images, prepare and audit find them by their voxels: all but the empty ones.
    masks = sorted(root.glob("*/*/segmentations/*")) + sorted(root.glob("*/*/brain_mask*"))
    table = tmp_path / "in" / "m.csv"
    rows = [f"{path},{path.relative_to(root).parts[0]},p{n}" for n, path in enumerate(masks)]
    table.write_text("\n".join(["path,domain,subject", *rows]) + "\n", encoding="utf-8")
    found = audit(read_csv(table), pictures=False)
    assert found.counts()["mask"] + found.counts().get("unreadable", 0) == len(masks)


def test_case14_a_root_of_subjects_is_asked_about_or_known(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    root = write("case14")
    with pytest.raises(InputError, match=r"9 of the 9 folders .* folder per subject\?"):
        read_source(root / "MADE-CT")
    alone = tmp_path / "alone"
    alone.mkdir()
    for folder in (root / "MADE-CT").glob("s*"):
        (alone / folder.name).symlink_to(folder)
    manifest, layout = read_source(alone)
    assert (layout, manifest.counts()) == ("totalsegmentator", {"TOTALSEGMENTATOR-CT": 3})
    assert manifest.subjects("TOTALSEGMENTATOR-CT") == ("s0001", "s0002", "s0003")


SETS = {
    "v2/Dataset001_Liver": ("nnunet", {"Liver-CT": 3, "Liver-T2-fat-sat": 3}, 6),
    "v1/Task002_Heart": ("nnunet", {"LeftAtrium-MRI": 3}, 3),
    "nrrd/Dataset003_N": ("nnunet", {"N-CT": 3}, 3),
    "noending/Dataset004_E": ("nnunet", {"E-CT": 3}, 3),
    "swapped/Dataset005_S": ("nnunet", {"S-CT": 3}, 3),
    "comma/Dataset006_C": ("nnunet", {"C-CT": 3}, 3),
    "bom/Dataset007_B": ("nnunet", {"B-CT": 3}, 3),
    "sessions/Dataset009_P": ("nnunet", {"P-CT": 12}, 12),
    "mac/Dataset010_M": ("nnunet", {"M-CT": 3}, 3),
    "upper/Dataset011_U": ("nnunet", {"U-CT": 3}, 3),
    "caseid/Dataset012_I": ("nnunet", {"I-CT": 3}, 3),
    "nojson/Dataset013_J": ("nnunet", {"J-0000": 3}, 3),
    "dec/Task04_Two": ("decathlon", {"Two-ADC": 3, "Two-T2": 3}, 6),
    "decback/Task05_H": ("decathlon", {"H-MRI": 3}, 3),
    "decabs/Task05_H": ("decathlon", {"H-MRI": 3}, 3),
    "declist/Task06_T": ("decathlon", {"T-CT": 4}, 0),
}


def test_case15_lists_of_nnunet_and_decathlon(write: Callable[[str], Path]) -> None:
    root = write("case15")
    for name, (layout, counts, labels) in SETS.items():
        manifest, found = read_source(root / name)
        assert (found, manifest.counts()) == (layout, counts), name
        assert sum(r.label is not None for r in manifest.records) == labels, name
    with pytest.warns(VoxmixWarning, match="6 files outside its folder"):
        manifest, layout = read_source(root / "list" / "Dataset008_L")
    assert (layout, manifest.counts()) == ("nnunet", {"L-CT": 3})
    ids, _ = read_source(root / "caseid" / "Dataset012_I")
    assert ids.subjects("I-CT") == ("ct_0003", "scan_2024_0000", "weird.name.v2")


def test_case16_only_scans_of_a_bids_set_count(write: Callable[[str], Path]) -> None:
    manifest, layout = read_source(write("case16"))
    assert (layout, manifest.counts()) == ("bids", {"FLAIR": 1, "T1": 11})
    assert not any("part-phase" in r.path.name or r.path.name.startswith("._") for r in manifest.records)
    assert {r.subject for r in manifest.records} == {f"sub-0{n}" for n in (1, 2, 3, 5, 6, 7, 8, 9)}
    named = {item.path.name.split("_", 1)[1]: item.reason for item in manifest.set_aside}
    assert sorted(named) == sorted(
        [*(f"{x}.nii.gz" for x in ("UNIT1", "inv-1_MP2RAGE", "inv-2_MP2RAGE", "part-phase_T1w")),
         "mod-T1w_defacemask.nii.gz", "T1w.nii.gz", "T1map.nii.gz"]
    )  # fmt: skip
    assert named["T1w.nii.gz"].startswith("a link to a file that is not there")
