"""The study file: one readable YAML that holds every setting of a study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from voxmix._amounts import Amount
from voxmix._io import write_text
from voxmix.allocation.settings import AllocationSettings
from voxmix.allocation.strategies import baselines, check_strategies, new_study_strategies
from voxmix.compute import ComputeSettings
from voxmix.design import StudyDesign, check_budget
from voxmix.errors import InputError
from voxmix.law.twostage import FOREIGN_WEIGHT
from voxmix.mixture import Mixture
from voxmix.run_settings import LATER, EvaluationSettings, ModelSettings, TrainingSettings, identity
from voxmix.settings import checked, parse_yaml, read_settings, render_yaml
from voxmix.settings_schema import MODELINE
from voxmix.study.files import ENCODERS, MIXTURES

STUDY_FORMAT = 1
_FORBID: dict[str, str] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSettings:
    """How many phantom volumes of each domain to make, and from which seed."""

    __pydantic_config__: ClassVar[Any] = _FORBID

    counts: dict[str, int]
    """Domain to number of volumes, one per subject."""
    seed: int = 0
    """Decides what the phantoms look like."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """Where the volumes come from, and how subjects are held out.

    ``path`` is a folder with a folder per domain, or a CSV manifest; relative to the study's folder.
    ``domains`` keeps only the named ones (empty: all), ``exclude`` leaves the named ones out. ``phantoms`` asks for made
    volumes instead. ``codec`` is how prepared arrays are stored: npy, or blosc2 at half the size. ``accept_blank`` trains
    on domains that are nearly all padding or one value, too. ``subject_pattern`` joins sessions to persons: a regular
    expression whose first group, or whole match, is the person in a subject's name.
    ``names`` is the folder for who is who and what was set aside; the study's own ``private`` if left out.
    ``targets`` names domains that are evaluated and never trained on, such as data that must not leave a hospital in a
    model: they are prepared and measured, and are in no mixture.

    Raises:
        InputError: both or none of the two sources given, a fraction that is not between 0 and 1, or a target twice.
    """

    __pydantic_config__: ClassVar[Any] = _FORBID

    path: str | None = None
    """A folder of volumes in a known layout, or a manifest (CSV or JSON), relative to the study's folder."""
    phantoms: PhantomSettings | None = None
    domains: tuple[str, ...] = ()
    """Use only these domains; empty: all."""
    validation_fraction: float = 0.2
    """Share of subjects that is held out."""
    split_seed: int = 0
    """Decides who is held out."""
    codec: Literal["npy", "blosc2"] = "npy"
    """How prepared arrays are stored: npy, or blosc2 at half the size."""
    exclude: tuple[str, ...] = ()
    """Leave these domains out."""
    accept_blank: bool = False
    """Also train on domains that are nearly all padding or one value."""
    subject_pattern: str = ""
    """A regular expression that joins sessions: its first group, or whole match, is the person in a subject's name."""
    names: str | None = None
    """Folder for the private lists (pseudonyms, files set aside); left out: the study's own folder private."""
    targets: tuple[str, ...] = field(default=(), metadata=LATER)
    """Only evaluate these domains: no run is trained on them."""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.phantoms is None):
            raise InputError(
                "data needs one of 'path' (your volumes) and 'phantoms' (made ones); give exactly one"
            )
        if len(set(self.targets)) < len(self.targets):
            raise InputError(f"data.targets names a domain twice: {list(self.targets)}; name each once")
        if not 0 < self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction must lie between 0 and 1, got {self.validation_fraction}; e.g. 0.2"
            )

    def identity(self) -> dict[str, Any]:
        """Return what decides which volumes are prepared; settings of a later voxmix only where they are used."""
        values = asdict(self)
        del values["accept_blank"], values["names"], values["targets"]
        for name in ("exclude", "subject_pattern"):
            if not values[name]:
                del values[name]
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings:
    """How the laws are fitted.

    ``max_transfer`` bounds tau (the paper: 1), ``bootstrap`` counts resamples. The naive and the paper's law are
    fitted in two stages, as the paper does; ``diversity_method`` and ``diversity_loss`` say how the diversity law is.
    Their defaults are what ``auto`` chose by held-out runs in both studies that were made, and joint fits ranked
    measured mixtures better (NOTEBOOK.md, 2026-11-22 and 2026-11-24). ``repetition`` lets repeats of the volumes that exist
    lose their worth: a rate R, "fitted", or "per-domain". ``keep_outliers`` fits losses too that no noise explains;
    by default they are named and set aside. ``rho`` is one CES exponent for all targets, or one per target (the
    diversity law). ``foreign_weight`` is what pure runs of other domains count in joint fits (:func:`voxmix.law.fit`).
    ``refine_runs`` decides whether runs of ``voxmix refine`` count: without, the laws and their mixtures stay as they were,
    and the strategy ``refined`` says what refining is worth.
    """

    __pydantic_config__: ClassVar[Any] = _FORBID

    max_exponent: float = 2.0
    """Upper bound of the exponent beta."""
    max_transfer: float = 1.0
    """Upper bound of transfers; the paper's is 1."""
    bootstrap: int = 200
    """Resamples for the intervals; 0 gives none."""
    diversity_method: Literal["two-stage", "joint"] = "joint"
    """How the diversity law is fitted: two-stage or joint."""
    diversity_loss: Literal["mse", "relative-huber", "log"] = "relative-huber"
    """Loss of that fit: mse, relative-huber or log."""
    repetition: float | Literal["fitted", "per-domain"] | None = None
    """null counts every draw in full; a rate R, fitted or per-domain lets repeats count less."""
    keep_outliers: bool = field(default=False, metadata=LATER)
    """Also fit losses that no noise explains; they are named either way."""
    rho: Literal["shared", "per-target"] = field(default="shared", metadata=LATER)
    """One CES exponent for all targets (shared), or one each (per-target), in the diversity law."""
    foreign_weight: float = field(default=FOREIGN_WEIGHT, metadata=LATER)
    """What pure runs of other domains count in joint fits, 0 (left out) to 1, where mixtures hold the target."""
    refine_runs: bool = field(default=False, metadata=LATER)
    """Also fit the study's laws to the runs of `voxmix refine`; it always fits its own."""

    def __post_init__(self) -> None:
        for name in ("max_exponent", "max_transfer"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.bootstrap < 0:
            raise InputError(f"bootstrap must be 0 (no intervals) or more, got {self.bootstrap}")
        if not 0 <= self.foreign_weight <= 1:
            raise InputError(f"foreign_weight must be from 0 to 1, got {self.foreign_weight}")
        if isinstance(self.repetition, float) and not self.repetition > 0:
            raise InputError(
                f"repetition must be null, fitted, per-domain or a rate above 0, got {self.repetition}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyAllocation(AllocationSettings):
    """The budget to allocate, and the strategies that are trained at it and compared, with how many seeds.

    What is below ``budget`` is asked of every law's mixture: see :func:`voxmix.allocation.allocate`. The guesses (uniform,
    data-proportional, temperature-T, single-DOMAIN) stay as they are, and all are judged by ``objective`` and
    ``target_weights``. With ``cost`` the budget is money: each strategy is trained on the draws that it buys.
    """

    __pydantic_config__: ClassVar[Any] = _FORBID

    budget: Amount
    """Volume draws to allocate, and to train the strategies at."""
    no_worse_than: str | None = field(default=None, metadata=LATER)
    """uniform or data-proportional: no target may be predicted worse than under it."""
    strategies: tuple[str, ...] = field(default_factory=new_study_strategies)
    """Mixtures to train and compare: guesses (uniform, data-proportional, temperature-T, single-DOMAIN) and those of laws."""
    seeds: int = 2
    """Seeds of each of them."""

    def draws_to_train(self, mixture: Mixture) -> int:
        """Return the whole draws that a strategy's mixture is trained on: what the budget buys of it, at least 1."""
        return max(int(self.draws_of(mixture) + 1e-9), 1)

    def __post_init__(self) -> None:
        check_budget(self.budget)
        AllocationSettings.__post_init__(self)
        check_strategies(self.strategies)
        if self.seeds < 1:
            raise InputError(f"seeds must be at least 1, got {self.seeds}; 2 or more show the noise")
        if not self.strategies:
            raise InputError(f"strategies is empty; name at least one of {list(new_study_strategies())}")
        guards = [row.name for row in baselines()]
        if self.no_worse_than is not None and self.no_worse_than not in guards:
            raise InputError(f"no_worse_than must be null or one of {guards}, got {self.no_worse_than!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """Every setting of a study. ``recipe`` is checked where volumes are prepared."""

    __pydantic_config__: ClassVar[Any] = _FORBID

    name: str
    """Title of the report."""
    data: DataSettings
    allocation: StudyAllocation
    recipe: dict[str, Any] = field(default_factory=dict)
    model: ModelSettings = field(default_factory=ModelSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    design: StudyDesign = field(default_factory=StudyDesign)
    fit: FitSettings = field(default_factory=FitSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    workers: int | None = None
    """Runs, or volumes to prepare, at the same time; null: every GPU or core."""
    format: int = STUDY_FORMAT
    """Version of this file; voxmix writes it."""

    def __post_init__(self) -> None:
        if self.format != STUDY_FORMAT:
            raise InputError(
                f"study format {self.format}, this voxmix reads {STUDY_FORMAT}; start again with voxmix init"
            )
        if self.workers is not None and self.workers < 1:
            raise InputError(
                f"workers must be at least 1, got {self.workers}; leave it out to use every core"
            )


_COMMENTS = {
    "name": f"{MODELINE}\nA voxmix study. Edit, then run `voxmix study run` on this folder: it makes again what changed.",
    "data": "`path` is a folder per domain or a CSV manifest; whole subjects are held out, by `split_seed`.",
    "recipe": "From files to arrays: RAS, isotropic spacing in mm, intensities to [0, 1], one rule per domain.",
    "model": "The masked autoencoder; crop and patch are edges in voxels.",
    "training": "Optimization and light augmentation. schedule: cosine, or trunk (one trunk serves every budget).",
    "evaluation": "Fixed crops and fixed masks on which every run is measured.",
    "design": "Proxy runs at each budget: one domain alone, vertices (min_weight of every domain, the rest of one), uniform.",
    "fit": "The laws: bounds, resamples for intervals. repetition: null, a rate R, fitted or per-domain.",
    "allocation": "The budget to allocate (volume draws), what is asked of a law's mixture, and the strategies to compare.\n"
    "max_weight, fixed: shares by domain, {ABD-CT: 0.4}. max_epochs: most draws of each volume.\n"
    "no_worse_than: null, uniform or data-proportional. volumes: those that exist, where not those prepared.\n"
    "cost: price of a draw by domain; the budget is then money. target_weights: importance by target.\n"
    "objective: mean loss; relative: mean of losses over those of uniform; minimax: the worst of these ratios.",
    "compute": "Speed and memory; does not change results beyond rounding. trackers: tensorboard, mlflow, wandb.",
    "workers": "Runs at the same time, and processes of prepare; null uses every core, or every GPU.",
}
_ORDER = (
    "name",
    "data",
    "recipe",
    "model",
    "training",
    "evaluation",
    "design",
    "fit",
    "allocation",
    "compute",
    "workers",
    "format",
)


def render_config(config: StudyConfig, notes: Mapping[str, str] | None = None) -> str:
    """Return the study file's text, with a comment above each part; ``notes`` adds one to the parts it names."""
    values = asdict(config)
    values["model"] = identity(config.model)  # axes only where they are not those of volumes
    values["data"] = {key: item for key, item in values["data"].items() if item is not None}
    return render_yaml({key: values[key] for key in _ORDER}, comments=_COMMENTS, notes=notes)


def write_config(config: StudyConfig, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the study file atomically."""
    write_text(path, render_config(config, notes))


def read_config(path: Path) -> StudyConfig:
    """Return the settings of a study file.

    Raises:
        InputError: no such file, not YAML, a key that is not known (the nearest known one is named), or
            a value that cannot be used; every problem is listed.
    """
    text = read_settings(
        path, absent=f"{path.parent} is not a study: it has no {path.name}; make one with: voxmix init"
    )
    values = parse_yaml(text, where=str(path))
    if values.get("kind", MIXTURES) != MIXTURES:
        raise InputError(
            f"{path} is the file of a study of kind {values['kind']!r}, and this is for studies of mixtures; encoder studies "
            "(kind: encoders) have: voxmix prepare, run, probe, scale, report, compare, predict, plan, status, estimate, study run, audit, cache verify, cache prune, and export of a run"
        )
    if "objectives" in values and "allocation" not in values:
        raise InputError(
            f"{path} holds the settings of a study of encoders under another kind; write `kind: {ENCODERS}` into it"
        )
    return parse_config(values, where=str(path))


def parse_config(values: dict[str, Any], *, where: str) -> StudyConfig:
    """Return the settings in ``values``; ``where`` names their origin in errors."""
    known = {key: value for key, value in values.items() if (key, value) != ("kind", MIXTURES)}
    return checked(StudyConfig, _with_names_of_today(known), where=where)


_RENAMED = {("compute", "strategy"): "sharing"}
"""Keys of study files of earlier versions, and what they are called today."""


def _with_names_of_today(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with keys that were renamed; a key given under both names is left for the check to refuse."""
    today = dict(values)
    for (section, before), now in _RENAMED.items():
        part = today.get(section)
        if isinstance(part, dict) and before in part and now not in part:
            today[section] = {now if key == before else key: value for key, value in part.items()}
    return today
