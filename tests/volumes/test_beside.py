"""Names and the secret behind pseudonyms lie beside the data, survive new caches, and stay out of the cache."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes import IntensityRule, Manifest, Recipe
from voxmix.volumes.beside import claim_salt, map_path, read_map, salt_of, set_aside_path
from voxmix.volumes.cache import subject_digest
from voxmix.volumes.prepare import prepare

RECIPE = Recipe(
    spacing_mm=1.0, min_shape=(4, 4, 4), intensity={"MR": IntensityRule(kind="window", low=0, high=99)}
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(4):
        folder = tmp_path / "data" / "MR" / f"Doe{i}"
        folder.mkdir(parents=True)
        values = np.random.default_rng(i).uniform(5, 90, (6, 7, 8)).astype(np.float32)
        nibabel.Nifti1Image(values, np.eye(4)).to_filename(folder / "a.nii.gz")
    return tmp_path / "data"


def opened(data: Path) -> Manifest:
    return Manifest.from_folder(data).split(seed=0)


def test_the_map_tells_who_and_which_file(data: Path, tmp_path: Path) -> None:
    cache = prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data).cache
    assert not (tmp_path / "cache" / "salt").exists()
    names = read_map(data)
    assert names is not None
    for volume in cache.volumes:
        person = names.subjects[volume.subject]
        assert subject_digest(names.salt, person) == volume.subject
        assert names.volumes[volume.key] == f"MR/{person}/a.nii.gz"
    assert not (data / "voxmix-set-aside.csv").exists()


def test_caches_of_the_same_data_know_a_person_by_the_same_name(data: Path, tmp_path: Path) -> None:
    one = prepare(opened(data), recipe=RECIPE, root=tmp_path / "one", source=data).cache
    coarse = Recipe(spacing_mm=2.0, min_shape=(4, 4, 4), intensity=RECIPE.intensity)
    two = prepare(opened(data), recipe=coarse, root=tmp_path / "two", source=data).cache
    assert {v.subject for v in one.volumes} == {v.subject for v in two.volumes}
    names = read_map(data)
    assert names is not None
    assert len(names.subjects) == 4
    assert len(names.volumes) == 8


def test_an_older_cache_hands_its_secret_over(data: Path, tmp_path: Path) -> None:
    before = prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache").cache
    assert (tmp_path / "cache" / "salt").exists()
    after = prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data)
    assert after.cache == before
    assert after.made == 0
    assert not (tmp_path / "cache" / "salt").exists()
    # Without the map's place the pseudonyms change, and nothing else does.
    again = prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache").cache
    assert again.digest == before.digest
    assert {v.subject for v in again.volumes}.isdisjoint(v.subject for v in before.volumes)


def test_a_folder_that_cannot_be_written_is_said_and_the_secret_stays(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, value: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("voxmix.volumes.beside.write_json", refuse)
    with pytest.warns(VoxmixWarning, match="could not be written beside the data"):
        cache = prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data).cache
    assert len(cache.volumes) == 4
    assert (tmp_path / "cache" / "salt").stat().st_mode & 0o077 == 0


def test_the_list_of_set_aside_files_follows_the_last_run(data: Path, tmp_path: Path) -> None:
    broken = data / "MR" / "Doe9" / "b.nii.gz"
    broken.parent.mkdir()
    broken.write_bytes(b"no")
    prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data)
    rows = set_aside_path(data).read_text().splitlines()
    assert rows[0] == "path,domain,reason"
    assert [row.split(",")[:2] for row in rows[1:]] == [["MR/Doe9/b.nii.gz", "MR"]]
    broken.unlink()
    prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data)
    assert not set_aside_path(data).exists()


def test_a_table_has_its_own_map(data: Path, tmp_path: Path) -> None:
    table = tmp_path / "lists" / "my.table.csv"
    table.parent.mkdir()
    opened(data).write_csv(table)
    assert map_path(table).name == "my.table.subjects.json"
    prepare(Manifest.from_csv(table).split(seed=0), recipe=RECIPE, root=tmp_path / "c", source=table)
    assert len(json.loads(map_path(table).read_text())["subjects"]) == 4
    assert not map_path(data).exists()
    map_path(table).write_text("{}")
    with pytest.raises(InputError, match="should hold a voxmix subject map"):
        prepare(Manifest.from_csv(table).split(seed=0), recipe=RECIPE, root=tmp_path / "c", source=table)


def test_a_secret_that_is_given_is_kept_nowhere(data: Path, tmp_path: Path) -> None:
    one = prepare(opened(data), recipe=RECIPE, root=tmp_path / "one", source=data).cache
    secret = salt_of(one, data)
    assert secret is not None
    two = prepare(opened(data), recipe=RECIPE, root=tmp_path / "two", salt=secret).cache
    assert two.volumes == one.volumes
    for path in (tmp_path / "two").rglob("*"):
        assert path.name != "salt"
        assert path.is_dir() or secret.encode() not in path.read_bytes()


def test_two_caches_that_start_together_agree_on_the_secret(data: Path, tmp_path: Path) -> None:
    first = claim_salt(tmp_path / "one", data)
    assert claim_salt(tmp_path / "two", data) == first
    assert map_path(data).stat().st_mode & 0o077 == 0
    assert [p.name for p in data.iterdir() if p.is_file()] == [map_path(data).name]
    cache = prepare(opened(data), recipe=RECIPE, root=tmp_path / "two", source=data).cache
    assert salt_of(cache, data) == first
    assert salt_of(cache, None) is None


def test_a_read_only_folder_is_left_alone_even_by_root(data: Path, tmp_path: Path) -> None:
    (data / "MR" / "Doe9.nii").write_bytes(b"no")
    data.chmod(0o555)
    try:
        with pytest.warns(VoxmixWarning, match=r"beside the data \(the folder is read-only\)"):
            cache = prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data).cache
        assert [p.name for p in data.iterdir()] == ["MR"]
        assert salt_of(cache, data) == (tmp_path / "cache" / "salt").read_text()
    finally:
        data.chmod(0o755)
