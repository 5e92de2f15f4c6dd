"""Optional libraries are imported where the user has no name, too; one that is missing is named with what installs it."""

import getpass
import pwd

import pytest

from voxmix._optional import require
from voxmix.errors import MissingDependencyError


def test_a_user_without_a_name_has_one_for_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs with the number of a user of another machine."""

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setenv("USER", "")
    for name in ("LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(KeyError):
        getpass.getuser()
    require("json", extra="train")
    assert getpass.getuser() == "nobody"


def test_a_user_with_a_name_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER"):
        monkeypatch.setenv(name, "ada")
    require("json", extra="train")
    assert getpass.getuser() == "ada"


def test_a_missing_library_is_named_with_what_installs_it() -> None:
    with pytest.raises(MissingDependencyError, match=r"'not_there', which is not installed.*voxmix\[train\]"):
        require("not_there", extra="train")
