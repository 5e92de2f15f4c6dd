"""The settings of an encoder study: images, nested subsets, objectives, starts, and how much each run computes."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar

from voxmix._amounts import Amount, Written
from voxmix.backbone_rows import BackboneSettings
from voxmix.compute import ComputeSettings
from voxmix.design import BudgetUnit, check_budget
from voxmix.domain import check_domain_name
from voxmix.encoder_runs import TextSettings, ViewSettings, WatchSettings
from voxmix.errors import InputError
from voxmix.images.recipe import ImageRecipe
from voxmix.objective_rows import OBJECTIVES, ObjectiveSettings
from voxmix.probe_tasks import SCRATCH, UNTRAINED, ProbeKind, ProbeSettings, ProbeTask
from voxmix.radiographs.planted import Planted
from voxmix.run_settings import LATER, TrainingSettings, at_least, identity
from voxmix.study.files import ENCODERS
from voxmix.subsets import ALL, check_samples
from voxmix.texts.report_text import TextRecipe

FORMAT = 1
OF_REPORTS: tuple[ProbeKind, ...] = ("retrieval", "reports")
"""Kinds of tasks that need the images' reports."""
_FORBID: dict[str, str] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeRadiographs:
    """Radiographs with reports and labels that are drawn from numbers alone (docs/concepts/radiographs.md)."""

    __pydantic_config__: ClassVar[Any] = _FORBID

    count: Amount = 1200
    """Films to draw."""
    seed: int = 0
    """Decides what they look like."""
    edge: int = 96
    """Shorter side of a film, in pixels."""
    planted: Planted | None = field(default=None, metadata=LATER)
    """Known answers that are planted into them; null: none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageData:
    """Where the images come from, and how persons are held out.

    Raises:
        InputError: not exactly one of the three sources given, or a share that is not between 0 and 1.
    """

    __pydantic_config__: ClassVar[Any] = _FORBID

    path: str | None = None
    """A folder or a table of images, relative to the study's folder."""
    radiographs: MadeRadiographs | None = None
    """Made radiographs instead."""
    volumes: str | None = None
    """Volumes instead, prepared already: a study of mixtures, or a folder that voxmix prepare made with --out. A backbone of
    axes 3 sees whole volumes, one of axes 2 their axial slices."""
    labels: tuple[str, ...] = ()
    """Columns of the table that are labels; empty: those whose cells say yes, no or uncertain."""
    classes: tuple[str, ...] = ()
    """Columns whose cells name one of several classes, such as the view; each class becomes a label "column: class"."""
    domains: tuple[str, ...] = ()
    """Use only these domains; empty: all."""
    exclude: tuple[str, ...] = ()
    """Leave these domains out."""
    validation_fraction: float = 0.2
    """Share of persons that is held out, where the table has no split."""
    split_seed: int = 0
    """Decides who is held out."""
    names: str | None = None
    """Folder for the private lists (pseudonyms, files set aside); left out: the study's own folder private."""

    def __post_init__(self) -> None:
        given = [name for name in ("path", "radiographs", "volumes") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                "data needs one of 'path' (your images), 'radiographs' (made ones) and 'volumes' (prepared ones), got "
                f"{' and '.join(given) or 'none'}"
            )
        if not 0 < self.validation_fraction < 1:
            raise InputError(
                f"validation_fraction must lie between 0 and 1, got {self.validation_fraction}; e.g. 0.2"
            )

    def identity(self) -> dict[str, Any]:
        """Return what decides which images are prepared."""
        values = asdict(self)
        del values["names"]
        if self.radiographs is not None:
            values["radiographs"] = identity(self.radiographs)
        if not self.classes:  # came later: what was prepared without them stays
            del values["classes"]
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderDesign:
    """Which runs are made: every objective from every start, on every subset, with every seed, at one budget.

    The axis is samples at equal compute (arXiv 2509.12818 trains at equal wall-clock). ``budget_unit`` says what is equal:
    draws (images seen), floating-point operations, or seconds. ``extremes_at`` repeats the smallest and the largest subset
    at more compute: where that changes the outcome, compute and not data was the limit. ``epochs`` is the other control:
    runs that see each image of their subset equally often.

    Raises:
        InputError: sizes that do not rise, a budget below 1, no seed, or a control that cannot be.
    """

    __pydantic_config__: ClassVar[Any] = _FORBID

    samples: tuple[Annotated[int | str, Written(but=(ALL,))], ...] = (64, 256, 1024, ALL)
    """Images of each subset, rising; "all" may be the last. Whole persons: a subset may be a little larger."""
    budget: Amount = 8192
    """What each run computes, in budget_unit."""
    budget_unit: BudgetUnit = "draws"
    """draws, flops or seconds of each run."""
    seeds: int = 2
    """Seeds of each run; seed s begins alike for every subset and objective."""
    subset_seed: int = 0
    """Decides which persons come first."""
    extremes_at: float | None = 2.0
    """The smallest and the largest subset also at so many times the budget; null for none."""
    epochs: float | None = None
    """Control: also runs in which each image of a subset is drawn so often, whatever its size; null for none."""
    only_with_reports: bool = True
    """Choose subsets among images with a report, where an objective reads reports: all objectives then see the same."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", tuple(self.samples))
        check_samples(self.samples)
        check_budget(self.budget)
        at_least(self, "seeds", 1)
        for name, least in (("extremes_at", 1), ("epochs", 0)):
            value = getattr(self, name)
            if value is not None and not value > least:
                raise InputError(f"{name} must be null or above {least}, got {value}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StartSettings:
    """Weights that runs begin from: a folder of open weights, a finished run or an exported encoder; null: none.

    Raises:
        InputError: a learning rate factor or a share that cannot be.
    """

    __pydantic_config__: ClassVar[Any] = _FORBID

    folder: str | None = None
    """Folder of the weights, relative to the study's folder; null begins from scratch."""
    rate: float = 1.0
    """Factor of every learning rate. DINO goes on at a tenth to a fortieth of its rate from scratch."""
    warm: float = 0.0
    """Share of the budget in which a fresh head is trained with the backbone frozen; without effect where the head is given."""

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise InputError(f"rate must be above 0, got {self.rate}")
        if not 0 <= self.warm < 1:
            raise InputError(f"warm must lie in [0, 1), got {self.warm}; e.g. 0.1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectivePlan:
    """How one objective is trained: its own settings, and its optimization."""

    __pydantic_config__: ClassVar[Any] = _FORBID

    settings: ObjectiveSettings
    """Of the objective's own class."""
    training: TrainingSettings
    """Optimization and changes of intensity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderStudyConfig:
    """Every setting of an encoder study.

    Raises:
        InputError: no objective, no start, a name of a start that is not one, a batch of one image where images are
            compared, or a budget that a schedule cannot keep.
    """

    __pydantic_config__: ClassVar[Any] = _FORBID

    name: str
    """Title of the study."""
    kind: str = ENCODERS
    """encoders: what tells this study file from that of a mixture study."""
    data: ImageData
    recipe: ImageRecipe = field(default_factory=ImageRecipe)
    texts: TextRecipe = field(default_factory=TextRecipe)
    design: EncoderDesign = field(default_factory=EncoderDesign)
    starts: dict[str, StartSettings] = field(default_factory=lambda: {SCRATCH: StartSettings()})
    backbone: BackboneSettings
    text: TextSettings = field(default_factory=TextSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    objectives: dict[str, ObjectivePlan]
    tasks: dict[str, ProbeTask] = field(default_factory=dict)
    probes: ProbeSettings = field(default_factory=ProbeSettings)
    references: dict[str, str] = field(default_factory=dict)
    """Name to the folder of an encoder that tasks are judged on too, relative to the study's folder: open weights, a finished
    run, an exported encoder. Every start is a reference without being named here, and so are untrained networks."""
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    workers: int | None = None
    """Runs, or images to prepare, at the same time; null: every GPU or core."""
    format: int = FORMAT
    """Version of this file; voxmix writes it."""

    def __post_init__(self) -> None:
        if self.kind != ENCODERS:
            raise InputError(
                f"kind is {self.kind!r}, and these settings are read as those of kind: {ENCODERS}"
            )
        if self.format != FORMAT:
            raise InputError(
                f"encoder study format {self.format}, this voxmix reads {FORMAT}; start again with voxmix init"
            )
        if self.workers is not None and self.workers < 1:
            raise InputError(
                f"workers must be at least 1, got {self.workers}; leave it out to use every core"
            )
        if not self.objectives:
            raise InputError(f"objectives is empty; name at least one of {list(OBJECTIVES.names())}")
        if self.data.volumes is None and self.backbone.axes != 2:
            raise InputError(
                f"backbone.axes is {self.backbone.axes}, and an image has 2; set it to 2, or give prepared volumes (data.volumes)"
            )
        if self.data.volumes is not None and self.reads_texts:
            names = ", ".join(name for name in self.objectives if OBJECTIVES[name].reads_texts)
            raise InputError(f"objective {names} reads reports, and volumes come without; take dino or mae")
        for name, plan in self.objectives.items():
            one_draw = self.design.budget_unit == "draws" and self.design.budget < 2
            wrong = "design.budget" if one_draw else f"objectives.{name}.training.batch_size"
            if name != "mae" and (one_draw or plan.training.batch_size < 2):
                raise InputError(
                    f"{wrong} is 1: {name} compares the images of a batch with each other; give at least 2, better 64 or more"
                )
        if not self.starts:
            raise InputError(f"starts is empty; write `{SCRATCH}: {{}}` for runs from scratch")
        for name, start in self.starts.items():
            if (name == SCRATCH) != (start.folder is None):
                raise InputError(
                    f"starts.{name}: a start needs a folder, and {SCRATCH} alone has none; got folder {start.folder!r}"
                )
        if self.design.budget_unit != "draws":
            for name, start in self.starts.items():
                if start.warm:
                    raise InputError(
                        f"starts.{name}.warm is a share of draws, and budget_unit is {self.design.budget_unit}; set warm to 0, or "
                        "budget_unit to draws"
                    )
        if self.design.budget_unit == "seconds":
            for name, plan in self.objectives.items():
                if plan.training.schedule != "trunk":
                    raise InputError(
                        f"a budget in seconds needs objectives.{name}.training.schedule trunk, as its steps are not known before"
                    )

        if lines := [*self._wrong_tasks(), *self._wrong_references()]:
            raise InputError("; and ".join(lines))

    @property
    def reads_texts(self) -> bool:
        """Whether any objective reads reports or labels as texts."""
        return any(OBJECTIVES[name].reads_texts for name in self.objectives)

    @property
    def keeps_texts(self) -> bool:
        """Whether reports are prepared: an objective reads them, or a task on the study's own images is about them."""
        own = self.data.volumes is None
        return self.reads_texts or (
            own and any(task.kind in OF_REPORTS and task.images is None for task in self.tasks.values())
        )

    def _wrong_tasks(self) -> Iterator[str]:
        for name, task in self.tasks.items():
            try:
                check_domain_name(name)
            except InputError as error:
                yield f"tasks: {str(error).replace('domain name', 'the name', 1)}"
            if task.images is None and task.outside:
                yield (
                    f"tasks.{name}.outside is true without images: the study's own images are what encoders learn from; name "
                    "others in images"
                )
            if task.column and task.images is None and task.column not in self.data.classes:
                yield (
                    f"tasks.{name}.column is {task.column!r}, and data.classes has {list(self.data.classes)}; add it there, so "
                    "that its cells are read"
                )
            if self.data.volumes is not None and task.kind in OF_REPORTS:
                yield f"tasks.{name} is of kind {task.kind}, and volumes come without reports; leave it out"
            if self.data.volumes is not None and task.images is not None:
                yield f"tasks.{name}.images are images, and encoders of this study learn from volumes; leave it out"

    def _wrong_references(self) -> Iterator[str]:
        for name in self.references:
            try:
                check_domain_name(name)
            except InputError as error:
                yield f"references: {str(error).replace('domain name', 'the name', 1)}"
            if name in self.starts or name == UNTRAINED:
                what = "untrained networks are" if name == UNTRAINED else "every start is"
                yield f"references.{name}: {what} judged already under this name; leave it out, or give another name"
