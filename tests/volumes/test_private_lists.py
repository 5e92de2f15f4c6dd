"""Names and the secret behind pseudonyms lie in a private folder, survive new caches, and stay out of the cache."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.datasets.sets.folder import read_folder
from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes import IntensityRule, Manifest, Recipe
from voxmix.volumes.manifest_files import write_csv
from voxmix.volumes.preparing.cache import subject_digest
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.preparing.private_lists import Names, claim_salt, earlier_map_path, read_map, salt_of

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
    return read_folder(data).split(seed=0)


def names(tmp_path: Path) -> Names:
    return Names(folder=tmp_path / "private")


def test_the_map_tells_who_and_which_file_and_nothing_is_written_beside_the_data(
    data: Path, tmp_path: Path
) -> None:
    before = sorted(data.rglob("*"))
    cache = prepare(
        opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data, names=names(tmp_path)
    ).cache
    assert not (tmp_path / "cache" / "salt").exists()
    found = read_map(names(tmp_path).map_path)
    assert found is not None
    for volume in cache.volumes:
        person = found.subjects[volume.subject]
        assert subject_digest(found.salt, person) == volume.subject
        assert found.volumes[volume.key] == f"MR/{person}/a.nii.gz"
    assert sorted(data.rglob("*")) == before
    assert (tmp_path / "private").stat().st_mode & 0o077 == 0
    assert names(tmp_path).map_path.stat().st_mode & 0o077 == 0
    assert not names(tmp_path).set_aside_path.exists()
    assert salt_of(cache, names(tmp_path)) == found.salt


def test_caches_that_keep_their_names_in_one_folder_know_a_person_by_the_same_name(
    data: Path, tmp_path: Path
) -> None:
    coarse = Recipe(spacing_mm=2.0, min_shape=(4, 4, 4), intensity=RECIPE.intensity)
    caches = [
        prepare(
            opened(data),
            recipe=recipe,
            root=tmp_path / name,
            source=data,
            names=Names.shared(tmp_path / "names", owner=tmp_path / name),
        ).cache
        for name, recipe in (("one", RECIPE), ("two", coarse))
    ]
    assert {v.subject for v in caches[0].volumes} == {v.subject for v in caches[1].volumes}
    assert len(list((tmp_path / "names").glob("*.subjects.json"))) == 2  # and none replaces the other's
    apart = prepare(
        opened(data), recipe=RECIPE, root=tmp_path / "c", source=data, names=names(tmp_path)
    ).cache
    assert {v.subject for v in apart.volumes}.isdisjoint(v.subject for v in caches[0].volumes)


@pytest.mark.parametrize("table", [False, True])
def test_the_map_that_an_earlier_version_left_beside_the_data_is_read_and_left_as_it_is(
    data: Path, tmp_path: Path, table: bool
) -> None:
    source = data
    if table:
        source = tmp_path / "list.csv"
        write_csv(opened(data), source)
    before = prepare(
        opened(data), recipe=RECIPE, root=tmp_path / "cache", source=source, names=names(tmp_path)
    ).cache
    old = earlier_map_path(source)
    names(tmp_path).map_path.rename(old)
    written = old.read_bytes()
    assert salt_of(before, names(tmp_path), source) == json.loads(written)["salt"]
    assert salt_of(before, names(tmp_path)) is None
    after = prepare(
        opened(data), recipe=RECIPE, root=tmp_path / "cache", source=source, names=names(tmp_path)
    )
    assert after.cache == before
    assert after.made == 0
    assert old.read_bytes() == written
    found = read_map(names(tmp_path).map_path)
    assert found is not None
    assert found.salt == json.loads(written)["salt"]


def test_an_older_cache_hands_its_secret_over(data: Path, tmp_path: Path) -> None:
    before = prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache").cache
    assert (tmp_path / "cache" / "salt").exists()
    after = prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data, names=names(tmp_path))
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

    monkeypatch.setattr("voxmix.volumes.preparing.private_lists.write_json", refuse)
    with pytest.warns(VoxmixWarning, match="could not be written to"):
        cache = prepare(
            opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data, names=names(tmp_path)
        ).cache
    assert len(cache.volumes) == 4
    assert (tmp_path / "cache" / "salt").stat().st_mode & 0o077 == 0


def test_the_list_of_set_aside_files_follows_the_last_run(data: Path, tmp_path: Path) -> None:
    broken = data / "MR" / "Doe9" / "b.nii.gz"
    broken.parent.mkdir()
    broken.write_bytes(b"no")
    prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data, names=names(tmp_path))
    rows = names(tmp_path).set_aside_path.read_text(encoding="utf-8").splitlines()
    assert rows[0] == "path,domain,reason"
    assert [row.split(",")[:2] for row in rows[1:]] == [["MR/Doe9/b.nii.gz", "MR"]]
    broken.unlink()
    prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data, names=names(tmp_path))
    assert not names(tmp_path).set_aside_path.exists()


def test_no_link_is_followed_when_names_are_written(data: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "private").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data, names=names(tmp_path))
    assert not list((tmp_path / "elsewhere").iterdir())
    (tmp_path / "private").unlink()
    (tmp_path / "private").mkdir()
    (tmp_path / "precious").write_text("", encoding="utf-8")
    names(tmp_path).set_aside_path.symlink_to(tmp_path / "precious")
    (data / "MR" / "Doe8").mkdir()
    (data / "MR" / "Doe8" / "b.nii.gz").write_bytes(b"no")
    prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data, names=names(tmp_path))
    assert (tmp_path / "precious").read_text(encoding="utf-8") == ""
    assert "Doe8" in names(tmp_path).set_aside_path.read_text(encoding="utf-8")


def test_names_do_not_lie_in_what_is_passed_on(data: Path, tmp_path: Path) -> None:
    inside = Names(folder=tmp_path / "cache" / "names")
    with pytest.raises(InputError, match="lies in the cache"):
        prepare(opened(data), recipe=RECIPE, root=tmp_path / "cache", source=data, names=inside)


@pytest.mark.parametrize("text", ["{}", "[]", "", '{"kind": "subject map", "format": 1, "salt": 3}'])
def test_a_damaged_map_is_named(data: Path, tmp_path: Path, text: str) -> None:
    names(tmp_path).open_folder()
    names(tmp_path).map_path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"subjects\.json"):
        prepare(opened(data), recipe=RECIPE, root=tmp_path / "c", source=data, names=names(tmp_path))


def test_a_secret_that_is_given_is_kept_nowhere(data: Path, tmp_path: Path) -> None:
    one = prepare(
        opened(data), recipe=RECIPE, root=tmp_path / "one", source=data, names=names(tmp_path)
    ).cache
    secret = salt_of(one, names(tmp_path))
    assert secret is not None
    two = prepare(opened(data), recipe=RECIPE, root=tmp_path / "two", salt=secret).cache
    assert two.volumes == one.volumes
    for path in (tmp_path / "two").rglob("*"):
        assert path.name != "salt"
        assert path.is_dir() or secret.encode() not in path.read_bytes()


def test_a_secret_is_claimed_from_the_nearest_place(data: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "salt").write_text("a" * 32, encoding="utf-8")
    assert claim_salt(tmp_path / "one", names(tmp_path), data) == "a" * 32
    fresh = claim_salt(tmp_path / "two", names(tmp_path), data)
    assert len(fresh) == 32
    assert fresh != claim_salt(tmp_path / "two", names(tmp_path), data)
