"""Rules of labels in a file that people write: YAML or JSON."""

from pathlib import Path
from typing import Any

import yaml

from voxmix._io import write_text
from voxmix.errors import InputError
from voxmix.texts.labels.rules import Rules
from voxmix.texts.labels.tables import CUES

_GIVE = "write labels: with a list of rules, each with a name and words; voxmix label --write-rules writes one to edit"


def read_rules(path: Path) -> Rules:
    """Return the rules of a file; without ``cues`` they have voxmix's own.

    Raises:
        InputError: no such file, no YAML or JSON, or no rules; names the file.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; give a file of rules (YAML or JSON)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}); give a file of rules (YAML or JSON)"
        ) from None
    except (yaml.YAMLError, RecursionError):
        raise InputError(f"{path} is neither YAML nor JSON; {_GIVE}") from None
    if not isinstance(value, dict) or not isinstance(value.get("labels"), list):
        raise InputError(f"{path} holds no rules of labels; {_GIVE}")
    odd = sorted(set(map(str, value)) - {"version", "labels", "cues"})
    if odd:
        raise InputError(f"{path} has the keys {odd}; known are labels and cues")
    cues: Any = value.get("cues", CUES)
    if not isinstance(cues, dict) or not all(
        isinstance(words, list | tuple) and all(isinstance(word, str) for word in words) for words in cues.values()
    ):  # fmt: skip
        raise InputError(
            f"cues of {path} should be a list of words for each kind, such as deny: [without, 'no'], no and yes in quotes"
        )
    try:
        return Rules.from_dict({"labels": value["labels"], "cues": cues})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_rules(rules: Rules, path: Path) -> None:
    """Write rules as YAML, to be edited and read again by :func:`read_rules`."""
    write_text(path, yaml.safe_dump(rules.as_dict(), sort_keys=False, allow_unicode=True, width=110))
