"""The names of what lies in a study's folder, each once, and how a study is told from other paths."""

from pathlib import Path

STUDY_FILE = "study.yaml"
"""The settings; the one file that is the user's."""
STEPS_FILE = "steps.json"
"""Which steps are made, and from which inputs."""
CACHE_FOLDER = "cache"
PRIVATE_FOLDER = "private"
PHANTOMS_FOLDER = "phantoms"
EVALUATION_FILE = "evaluation.safetensors"
RUNS_FOLDER = "runs"
TRUNKS_FOLDER = "trunks"
LAWS_FOLDER = "laws"
ALLOCATIONS_FOLDER = "allocations"
DOWNSTREAM_FOLDER = "downstream"
EXPORT_FOLDER = "export"
MEASUREMENTS_FILE = "measurements.csv"
REPORT_FILE = "report.html"
REFINE_FILE = "refine.json"


def is_study(path: Path) -> bool:
    """Return whether a path is a study's folder, or its study.yaml."""
    return path.name == STUDY_FILE or (path / STUDY_FILE).exists()


def study_file(path: Path) -> Path:
    """Return the study file of a study named by its folder or its file."""
    return path if path.name == STUDY_FILE else path / STUDY_FILE
