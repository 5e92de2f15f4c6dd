"""What the package says of itself agrees, wherever it is said."""

from importlib.resources import files
from pathlib import Path

import yaml

import voxmix

ROOT = Path(__file__).resolve().parents[1]


def test_citation_names_the_version_of_the_code() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == voxmix.__version__


def test_type_checkers_of_users_see_the_annotations() -> None:
    assert files("voxmix").joinpath("py.typed").is_file()
