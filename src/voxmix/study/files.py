"""The names of what lies in a study's folder, each once, and how a study is told from other paths."""

from pathlib import Path

from voxmix.errors import InputError

STUDY_FILE = "study.yaml"
"""The settings; the one file that is the user's."""
STEPS_FILE = "steps.json"
"""Which steps are made, and from which inputs."""
CLAIMS_FOLDER = ".claims"
"""Who works on the study."""
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
RADIOGRAPHS_FOLDER = "radiographs"
RADIOGRAPHS_TABLE = "films.csv"
TASKS_FOLDER = "tasks"
PROBES_FOLDER = "probes"
FEATURES_FOLDER = "features"
DIGESTS_FILE = "encoders.json"
SCORES_TABLE = "scores.csv"
SCORES_FILE = "scores.json"
STARTS_FILE = "starts.json"
SUBSETS_FOLDER = "subsets"
ENCODER_RUNS_FILE = "runs.csv"

MIXTURES, ENCODERS = "mixtures", "encoders"
"""The kinds of studies: what ``kind`` says in a study file. One without it is of mixtures."""


def is_study(path: Path) -> bool:
    """Return whether a path is a study's folder, or its study.yaml."""
    return path.name == STUDY_FILE or (path / STUDY_FILE).exists()


def study_file(path: Path) -> Path:
    """Return the study file of a study named by its folder or its file."""
    return path if path.name == STUDY_FILE else path / STUDY_FILE


def kind_of(path: Path) -> str:
    """Return the kind of a study named by its folder or its file: what its file says, mixtures where it says nothing.

    A file that cannot be read is of mixtures, too: whoever opens it says what is wrong.
    """
    from voxmix.settings import parse_yaml, read_settings

    try:
        values = parse_yaml(read_settings(study_file(path), absent="no study file"), where=str(path))
    except InputError:
        return MIXTURES
    return str(values.get("kind", MIXTURES))


def new_study_file(root: Path) -> Path:
    """Return the path of the study file of a study that is begun in a folder.

    Raises:
        InputError: the folder is a study already, or is not empty.
    """
    path = root / STUDY_FILE
    if path.exists():
        raise InputError(f"{root} is a study already; edit {path}, or choose another folder")
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        raise InputError(f"{root} is not an empty folder; choose a new name for the study")
    return path
