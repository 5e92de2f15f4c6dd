"""Files are whole or absent; digests do not depend on order."""

import errno
import json
import os
from pathlib import Path

import pytest

from voxmix._io import (
    atomic_path,
    canonical_json,
    digest,
    naming_full_disk,
    read_json,
    read_versioned,
    write_json,
)
from voxmix.errors import InputError, VoxmixError


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_of_the_value_not_of_its_order() -> None:
    assert digest({"a": 1, "b": [1.5, "ä"]}) == digest({"b": [1.5, "ä"], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert canonical_json({"b": 1, "a": (1, 2)}) == '{"a":[1,2],"b":1}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ('{"kind": "run"}', "should hold a voxmix law"),
        ('{"kind": "law", "format": 7}', "version 7"),
    ],
)
def test_other_files_are_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_versioned(path, kind="law", version=1)
    with pytest.raises(InputError, match="no such file"):
        read_versioned(tmp_path / "none.json", kind="law", version=1)


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "cannot write below")]
)
def test_a_full_disk_is_named(code: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(VoxmixError, match=words), naming_full_disk(tmp_path):
        raise OSError(code, os.strerror(code))
    with pytest.raises(VoxmixError, match="no space left"), naming_full_disk(tmp_path):
        raise OSError("63480 requested and 12224 written")  # what numpy.save raises on a full disk
    with pytest.raises(FileNotFoundError), naming_full_disk(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "other errors pass")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is empty"),
        (b"[" * 100_000, "nested too deep"),
        (b"9" * 5000, "5000 digits"),
        (b"1e400", "not a finite number"),
        (b"NaN", "not a finite number"),
        (b'"\xe9"', "not JSON"),
        (b"{,}", "not JSON"),
    ],
)
def test_no_bytes_give_a_traceback(raw: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=words):
        read_json(path)
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
    with pytest.raises(InputError, match="is a folder"):
        read_json(tmp_path)
