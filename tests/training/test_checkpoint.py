"""The last good state can always be loaded, whatever happens to the newest one or to the disk."""

import errno
import os
from dataclasses import replace

import pytest
import torch

from voxmix import _io
from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixError, VoxmixWarning
from voxmix.objectives.mae import train
from voxmix.training import checkpoint
from voxmix.training.checkpoint import PREVIOUS_STATE_FILE, STATE_FILE, load_state, save_state

OFTEN = ComputeSettings(checkpoint_seconds=0.0)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def replace_by_a_pickle(path):
    torch.save({"format": 2, "steps": 99}, path)


DAMAGES = [truncate, flip_a_bit, empty, replace_by_a_pickle]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_gives_way_to_the_one_before(damage, tmp_path):
    for steps in (1, 2, 3):
        save_state(tmp_path, {"steps": steps, "weight": torch.full((50,), float(steps))})
    assert load_state(tmp_path)["steps"] == 3
    damage(tmp_path / STATE_FILE)
    with pytest.warns(VoxmixWarning, match=r"state\.pt is damaged; the run goes on from the state before it"):
        state = load_state(tmp_path)
    assert (state["steps"], float(state["weight"][0])) == (2, 2.0)
    damage(tmp_path / PREVIOUS_STATE_FILE)
    with pytest.raises(InputError, match=r"cannot be read: it is damaged.*delete it"):
        load_state(tmp_path)


def test_a_process_that_dies_between_the_two_renames_leaves_the_state_before(tmp_path):
    save_state(tmp_path, {"steps": 1})
    (tmp_path / STATE_FILE).rename(tmp_path / PREVIOUS_STATE_FILE)
    assert load_state(tmp_path)["steps"] == 1
    save_state(tmp_path, {"steps": 2})
    assert load_state(tmp_path)["steps"] == 2


def test_a_disk_that_gives_back_other_bytes_is_named_and_the_last_state_stays(tmp_path, monkeypatch):
    save_state(tmp_path, {"steps": 1})
    plain = checkpoint._write

    def failing(path, head, payload):
        plain(path, head, bytes(payload)[:-1] + b"?")

    monkeypatch.setattr(checkpoint, "_write", failing)
    with pytest.raises(VoxmixError, match="reads back differently: the disk is failing"):
        save_state(tmp_path, {"steps": 2})
    assert load_state(tmp_path)["steps"] == 1
    assert not list(tmp_path.glob(".*.tmp"))


def small_disk(monkeypatch, folder, *, states):
    """Let the folder hold so many states of the size of the first one, whole or half-written."""
    plain, size = checkpoint._write, []

    def write(path, head, payload):
        size.append(len(payload))
        used = sum(other.stat().st_size for other in folder.glob("*state*") if other != path)
        room = int(states * size[0] * 1.01) - used
        if len(payload) > room:
            plain(path, head, bytes(payload)[: max(room, 0)])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(path, head, payload)

    monkeypatch.setattr(checkpoint, "_write", write)


def test_a_disk_with_room_for_two_states_is_enough(
    spec, cache, evaluation, tmp_path, monkeypatch, same_run, finished
):
    folder = tmp_path / spec.run_id
    small_disk(monkeypatch, folder, states=2)
    train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1, compute=OFTEN)
    assert same_run(folder, finished)


def test_a_disk_that_fills_stops_the_run_with_words_and_room_lets_it_go_on(
    spec, cache, evaluation, tmp_path, monkeypatch, same_run, finished
):
    folder = tmp_path / spec.run_id
    small_disk(monkeypatch, folder, states=1)  # the first state fits, none beside it
    with pytest.raises(VoxmixError, match="no space left on the disk"):
        train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1, compute=OFTEN)
    assert load_state(folder)["steps"] == 1
    assert not list(folder.glob(".*.tmp"))
    monkeypatch.undo()
    train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    assert same_run(folder, finished)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_whose_newest_state_is_damaged_ends_as_if_it_were_not(
    damage, spec, cache, evaluation, tmp_path, dies_at, same_run, finished
):
    folder = tmp_path / spec.run_id

    with pytest.raises(RuntimeError, match="killed"):
        train(
            spec,
            cache=cache,
            evaluation=evaluation,
            folder=folder,
            threads=1,
            compute=OFTEN,
            progress=dies_at(64),
        )
    damage(folder / STATE_FILE)
    with pytest.warns(VoxmixWarning, match="state before it"):
        train(spec, cache=cache, evaluation=evaluation, folder=folder, threads=1)
    assert same_run(folder, finished)
    assert not (folder / PREVIOUS_STATE_FILE).exists()


def test_a_state_of_other_volumes_or_another_run_is_refused(spec, cache, evaluation, finished, tmp_path):
    good = {"run_id": spec.run_id, "evaluation": evaluation.digest, "cache": cache.digest}
    for name in good:
        folder = tmp_path / name
        save_state(folder, good | {name: "other"})
        before = _io.file_digest(folder / STATE_FILE)
        with pytest.raises(InputError, match="belongs to another run, evaluation set or cache; delete"):
            train(spec, cache=cache, evaluation=evaluation, folder=folder)
        assert _io.file_digest(folder / STATE_FILE) == before


def test_a_begun_run_with_changed_settings_is_refused_and_kept(spec, cache, evaluation, tmp_path):
    folder = tmp_path / "run"
    _io.write_json(folder / "spec.json", spec.as_dict())
    save_state(folder, {"run_id": spec.run_id, "steps": 5})
    other = replace(spec, training=replace(spec.training, learning_rate=1e-3))
    with pytest.raises(InputError, match=r"holds another run .* settings were changed after it began"):
        train(other, cache=cache, evaluation=evaluation, folder=folder)
    assert load_state(folder)["steps"] == 5
