"""What frozen encoders are judged on: tasks, and how they are probed; readable without torch."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from voxmix._io import digest, file_digest
from voxmix._table import Table
from voxmix.errors import InputError, did_you_mean
from voxmix.run_settings import LATER, at_least, identity

SCRATCH = "scratch"
"""The start that begins from no weights."""
UNTRAINED = "untrained"
"""The reference of runs from scratch: their networks before they learn."""
ProbeKind = Literal["labels", "classes", "masks", "retrieval", "reports"]
PROBE_KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)
"""labels: each present or not. classes: one of several. masks: which pixels. retrieval: the report of an image, and the image
of a report. reports: write the report."""
HEADS: Table[str | Callable[[Any], Any]] = Table(
    "probe_heads",
    {
        "linear": "voxmix.probes.linear:linear_head",
        "knn": "voxmix.probes.knn:knn_head",
        "attention": "voxmix.probes.attention:attention_head",
        "masks": "voxmix.probes.mask_head:mask_head",
        "retrieval": "voxmix.probes.retrieval:retrieval_head",
        "reports": "voxmix.probes.reports:reports_head",
    },
)
"""Head to a function, or to "module:function" that is imported when it is used; it takes a
:class:`voxmix.probes.heads.Probing` and returns a :class:`voxmix.probes.heads.HeadResult`. Tasks of kinds labels and classes name
their head; those of another kind have the one of their kind."""
_OF_KINDS = ("masks", "retrieval", "reports")


def named_heads() -> tuple[str, ...]:
    """Return the heads that a task of kind labels or classes may name: voxmix's own, and those of other packages."""
    return tuple(name for name in HEADS.names() if name not in _OF_KINDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeTask:
    """One task that frozen encoders are judged on.

    Raises:
        InputError: a part that this kind of task does not have, or needs and lacks.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    kind: ProbeKind
    """labels, classes, masks, retrieval or reports."""
    labels: tuple[str, ...] = ()
    """Of kind labels: which label columns; empty: every label that images have."""
    column: str = ""
    """Of kind classes: the column whose cells name the class; also one of data.classes, or of the task's own images."""
    masks: tuple[str, ...] = ()
    """Of kind masks: which masks; empty: every mask that images have."""
    head: str = "linear"
    """Of kinds labels and classes: linear (a linear map of class token and mean of patches), attention (one learned query over
    the tokens of several layers), knn (the nearest neighbors), or a head of another package."""
    images: str | None = None
    """Another folder or table of images, relative to the study's folder; null: the study's own. The probe is trained on its
    training persons and judged on the persons held out; none of them may be among those that encoders learned from."""
    domains: tuple[str, ...] = ()
    """Only images of these domains; empty: all."""
    outside: bool = False
    """Whether it is out of domain: images of another center than encoders learn from. Reports then speak of forgetting."""
    carried: bool = field(default=False, metadata=LATER)
    """Of kinds labels and classes, with images of its own: whether the head is trained on the training persons of the study's own
    images and judged, unchanged, on every one of these. What a head leans on at home it then leans on elsewhere."""

    def __post_init__(self) -> None:
        for name in ("labels", "masks", "domains"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.head not in named_heads():
            hint = did_you_mean(self.head, named_heads(), what="the heads are ")
            raise InputError(f"unknown head {self.head!r}; {hint}; one of another package must be installed")
        if self.carried and (self.images is None or self.kind not in ("labels", "classes")):
            raise InputError(
                f"a task with carried: true is of kind labels or classes and has images of its own; got kind {self.kind}, images "
                f"{self.images!r}"
            )
        if (self.kind == "classes") != bool(self.column):
            raise InputError(
                f"a task of kind {self.kind} {'needs' if self.kind == 'classes' else 'has no'} column; got column {self.column!r}"
            )
        for name in ("labels", "masks"):
            if getattr(self, name) and self.kind != name:
                raise InputError(f"a task of kind {self.kind} has no {name}; got {list(getattr(self, name))}")

    def as_dict(self) -> dict[str, Any]:
        """Return the task as JSON-like data."""
        return identity(self)


REPORTS_VERSION = 1
"""Raised whenever the same features, reports and settings lead to other texts than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSettings:
    """How reports are written from features of a frozen encoder: an adapter, and a decoder behind it.

    Raises:
        InputError: a value that cannot be used.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    decoder: str = "own"
    """own: a small transformer from scratch over the study's tokens. Else the local folder of a causal language model (Hugging
    Face: config.json, tokenizer.json, safetensors); nothing is fetched, and no code of a folder is run."""
    lora: int = 0
    """Rank of LoRA in a language model (Hu et al. 2022; needs peft); 0 leaves it frozen, so that only the adapter learns."""
    prefix: int = 8
    """Embeddings that stand for the image before the text."""
    width: int = 64
    """Width of the own decoder."""
    depth: int = 2
    """Layers of the own decoder."""
    heads: int = 4
    """Attention heads of the own decoder."""
    tokens: int = 96
    """Most tokens of a report, in training and written."""
    repeat: int = 12
    """No run of so many tokens is written twice in a report, so that none turns in circles; 0 allows all."""
    epochs: int = 40
    """Most times that each report is seen; the epoch is chosen on the inner split."""
    patience: int = 6
    """Epochs without a better loss after which training ends."""
    batch: int = 16
    """Reports of a step."""
    rate: float = 3e-3
    """Learning rate at its highest."""
    scores: tuple[str, ...] = ()
    """Scores, the main one first; empty: label F1, BLEU-4, ROUGE-L, chrF, and METEOR where nltk is installed."""
    weights: dict[str, str] = field(default_factory=dict)
    """Of scores with models (RadGraph F1, CheXbert F1, RadFact): score to the local folder of its weights."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", tuple(self.scores))
        for name in ("prefix", "width", "depth", "heads", "epochs", "patience", "batch"):
            at_least(self, name, 1)
        at_least(self, "tokens", 2)
        for name in ("lora", "repeat"):
            at_least(self, name, 0)
        if self.width % self.heads:
            raise InputError(
                f"reports: width must be a multiple of heads, got width {self.width} and heads {self.heads}"
            )
        if not 0 < self.rate < 1:
            raise InputError(f"reports: rate must lie between 0 and 1, got {self.rate}; e.g. 0.001")
        if self.lora and self.decoder == "own":
            raise InputError(
                "reports: lora adapts a language model, and the decoder is voxmix's own; name the folder of a language model as "
                "decoder, or leave lora at 0"
            )

    @property
    def digest(self) -> str:
        """Digest of all that decides what is written and scored; of folders their content, wherever they lie."""
        files = (
            "own" if self.decoder == "own" else _folder_digest(Path(self.decoder), "*.json", "*.safetensors")
        )
        weights = [[name, _folder_digest(Path(one), "**/*")] for name, one in sorted(self.weights.items())]
        own = {**asdict(self), "decoder": files, "weights": weights, "version": REPORTS_VERSION}
        return digest(own)

    def below(self, root: Path) -> "ReportSettings":
        """Return the settings with the folders of decoder and weights, where they are relative, seen from ``root``."""
        decoder = self.decoder if self.decoder == "own" else str(root / self.decoder)
        return replace(
            self, decoder=decoder, weights={name: str(root / one) for name, one in self.weights.items()}
        )


def _folder_digest(folder: Path, *patterns: str) -> str:
    """Return the digest of the files of some names; a folder that is not there has one too."""
    files = sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file())
    return digest(
        [
            [
                file.relative_to(folder).as_posix(),
                _digest_of(file, file.stat().st_mtime_ns, file.stat().st_size),
            ]
            for file in files
        ]
    )


@cache
def _digest_of(file: Path, changed: int, size: int) -> str:
    """Return the digest of a file, read once for as long as it does not change."""
    return file_digest(file)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSettings:
    """How frozen encoders are probed; the same for every encoder of a study.

    Raises:
        InputError: a value that cannot be used.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    layers: int = 4
    """Last layers that attention pooling sees (DINOv2 evaluates the last 1 or 4); fewer where a backbone has fewer."""
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """Strengths of the squared penalty of linear heads, per image; the one that is best on an inner split by person is taken."""
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    """Learning rates of attention and pyramid heads, trained side by side; chosen as the penalties are."""
    epochs: int = 30
    """Times that trained heads see each image."""
    neighbors: tuple[int, ...] = (1, 5, 20)
    """Numbers of neighbors of knn; chosen as the penalties are."""
    inner: float = 0.2
    """Share of training persons on which the grid is chosen."""
    seed: int = 0
    """Decides the inner split and where trained heads begin."""
    reports: ReportSettings = field(default_factory=ReportSettings)
    """Of tasks of kind reports."""

    def __post_init__(self) -> None:
        for name in ("penalties", "rates", "neighbors"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if not getattr(self, name) or min(getattr(self, name)) <= 0:
                raise InputError(f"{name} must be numbers above 0, got {list(getattr(self, name))}")
        at_least(self, "layers", 1)
        at_least(self, "epochs", 1)
        if not 0 < self.inner < 1:
            raise InputError(f"inner must lie between 0 and 1, got {self.inner}; e.g. 0.2")

    @property
    def digest(self) -> str:
        """Digest of all but those of reports: they decide nothing of other tasks."""
        return digest({name: value for name, value in asdict(self).items() if name != "reports"})

    def digest_of(self, kind: ProbeKind) -> str:
        """Return the digest of what decides tasks of a kind."""
        return self.digest if kind != "reports" else digest([self.digest, self.reports.digest])


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedEncoder:
    """Which encoder was judged: what a law of scores needs to know of it.

    Attributes:
        name: what tables call it, such as "unicl scratch 256"; a reference is called by its own name.
        encoder: digest of its weights and contract.
        objective: what it learned by; "" for a reference (open weights, or a network that learned nothing), which is a line
            in a figure and no point of a curve.
        start: name of what it began from; of a reference its own name, so that what began from it can be set against it.
        samples: images of its subset; 0 for a reference.
        compute: budget in units of the design's; 1.0 at equal compute, 2.0 for the extremes at twice the compute.
        control: "" at equal compute and for references, "compute" for more compute, "epochs" for equal epochs.
        seed: of its run; 0 for a reference that is one set of weights.
        run: id of its run; "" where it is none of the study's.
    """

    name: str
    encoder: str
    objective: str = ""
    start: str = ""
    samples: int = 0
    compute: float = 1.0
    control: Literal["", "compute", "epochs"] = ""
    seed: int = 0
    run: str = ""

    @property
    def is_reference(self) -> bool:
        """Whether it is a line that others are set against."""
        return not self.objective
