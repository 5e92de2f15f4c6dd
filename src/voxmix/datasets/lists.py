"""The lists that data sets carry (dataset.json, pretrain_data.json): reading them, and the files that they name."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxmix.errors import InputError

NO_NAMES = "an entry of dataset.json that does not name its images"
NO_LABEL = "label map: no such file"


def below(root: Path, given: str) -> Path:
    """Return a path that an archive names, which must stay below its folder; an absolute path into it is one.

    Raises:
        InputError: it leads out of the folder.
    """
    target, inside = anywhere(root, given)
    if not inside and Path(_slashes(given)).is_absolute():
        real = Path(os.path.realpath(root))  # The list may name the folder that a link leads to.
        inside = target.is_relative_to(real)
        target = Path(os.path.abspath(root)) / target.relative_to(real) if inside else target
    if not inside or re.match(r"[A-Za-z]:", given):
        raise InputError(f"{root} lists a file outside itself: {given}; correct the list")
    return target


def _slashes(given: str) -> str:
    """Return a path with the slashes of this system; a list from Windows has the others."""
    return given if os.sep == "\\" else given.replace("\\", "/")


def existing(path: Path) -> Path | None:
    """Return the path of a label map if there is one."""
    return path if os.path.exists(path) else None


def file_names_of(given: Any) -> list[str]:
    """Return the names of files that an entry gives, one or a list; none where anything else stands among them."""
    texts = given if isinstance(given, list) else [given]
    return texts if all(isinstance(text, str) and text for text in texts) else []


def anywhere(root: Path, given: str) -> tuple[Path, bool]:
    """Return a path that a list names, and whether it lies in the list's folder."""
    folder = Path(os.path.abspath(root))
    target = Path(os.path.normpath(folder / _slashes(given)))
    return target, target.is_relative_to(folder)


def channel_names(described: Mapping[str, Any]) -> dict[int, str]:
    """Return the number of each channel and its name: ``{"0": "CT"}``, ``{"CT": 0}`` or ``["CT"]``."""
    given = described.get("channel_names") or described.get("modality") or {}
    pairs = enumerate(given) if isinstance(given, list) else given.items() if isinstance(given, dict) else ()
    found: dict[int, str] = {}
    for key, value in pairs:
        number, name = (key, value) if _is_number(key) else (value, key)
        if not _is_number(number):
            raise InputError(
                f'the channels of dataset.json are {given!r}; give them as {{"0": "CT"}}, a name per number'
            )
        found[int(number)] = str(name)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value.isdecimal() and len(value) < 5)


def json_object(path: Path) -> dict[str, Any]:
    """Return the object that a data set's own list is.

    Raises:
        InputError: as :func:`read_list`, or it holds something else.
    """
    value = read_list(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} should hold a JSON object; give the data set's own file")
    return value


def read_list(path: Path) -> Any:
    """Return the JSON of a data set's own list, also with a byte-order mark or a comma after the last item.

    Raises:
        InputError: no such file, or not JSON.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode(json.detect_encoding(raw))
        # Texts are matched first, so that a comma in one is left alone.
        return json.loads(re.sub(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', lambda found: found[1] or "", text))
    except FileNotFoundError:
        raise InputError(
            f"no such file: {path}; give the folder into which the data set was unpacked"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the data set's own file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); fix it, or write a CSV of the volumes") from None


def dataset_json(root: Path) -> dict[str, Any]:
    """Return what a folder's ``dataset.json`` says; {} where there is none, or it says something else.

    Raises:
        InputError: it is not JSON.
    """
    value = read_list(root / "dataset.json") if (root / "dataset.json").is_file() else {}
    return value if isinstance(value, dict) else {}


def has_images_tr(root: Path) -> bool:
    """Return whether a folder has one of images for training or validation, as nnU-Net and those like it lay out."""
    return not {"imagesTr", "imagesVa"}.isdisjoint(os.listdir(root))
