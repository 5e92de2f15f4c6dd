"""Print the lowest version of each dependency that pyproject.toml allows, as constraints for pip.

``make test-minimum`` installs exactly these and runs the tests. The bounds stand in pyproject.toml alone.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def requirements(pyproject: Path = PYPROJECT) -> list[Requirement]:
    """Return every requirement of the package and of its extras, without those on its own extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return [one for one in map(Requirement, lines) if one.name != project["name"]]


def minimum(requirement: Requirement) -> str:
    """Return ``name==version`` for the lower bound of a requirement.

    Raises:
        ValueError: the requirement has no lower bound, or more than one.
    """
    bounds = [one.version for one in requirement.specifier if one.operator == ">="]
    if len(bounds) != 1:
        raise ValueError(f"{requirement} must have one lower bound, such as {requirement.name}>=1.2")
    return f"{requirement.name}=={bounds[0]}"


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in sorted(set(map(minimum, requirements())))))
