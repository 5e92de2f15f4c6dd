"""The version of voxmix, with the commit where it runs from a checkout."""

import subprocess
from contextlib import suppress
from pathlib import Path

from voxmix import __version__

_PACKAGE = Path(__file__).resolve().parents[1]
_PATIENCE = 5.0  # seconds for git


def version_text(package: Path = _PACKAGE) -> str:
    """Return "voxmix 0.1.0", of a checkout "voxmix 0.1.0 (commit 1a2b3c4)", with "changed" where files differ from it."""
    commit = _commit(package)
    return f"voxmix {__version__}" + (f" (commit {commit})" if commit else "")


def _commit(package: Path) -> str:
    """Return the commit of the checkout that holds the package, "" where there is none or no git."""
    root = package.parent.parent
    if package.parent.name != "src" or not (root / ".git").exists():
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "describe", "--always", "--exclude", "*", "--dirty=, changed"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
        return found.stdout.strip()
    return ""
