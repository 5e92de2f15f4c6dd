"""What --json prints, verb by verb: the keys of each verb, which scripts may rely on. Each is a schema; a test holds verbs to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """The keys of one JSON value.

    Attributes:
        when: where a verb prints several kinds of values: what it was given.
        always: keys that are there whatever was found, apart by blanks.
        sometimes: keys that are there where they have a meaning, apart by blanks.
        names: whether the keys are names that the user gave, such as strategies, and each value has ``always``.
        each: whether the value is a list of objects of these keys.
    """

    when: str = ""
    always: str = ""
    sometimes: str = ""
    names: bool = False
    each: bool = False

    def faults(self, value: Any) -> list[str]:
        """Return what is wrong about a value, in words; [] where it is as documented."""
        if self.each:
            inner = value if isinstance(value, list) else None
        elif self.names:
            inner = list(value.values()) if isinstance(value, dict) else None
        else:
            return self._of(value)
        if inner is None:
            return [f"no {'list' if self.each else 'object'}"]
        return [fault for one in inner for fault in self._of(one)]

    def _of(self, value: Any) -> list[str]:
        if not isinstance(value, dict):
            return ["no object"]
        always, known = set(self.always.split()), {*self.always.split(), *self.sometimes.split()}
        missing = [f"lacks {name}" for name in sorted(always - set(value))]
        return missing + [f"has {name}" for name in sorted(set(value) - known)]

    def schema(self) -> dict[str, Any]:
        """Return it as JSON schema."""
        names = [*self.always.split(), *self.sometimes.split()]
        own = {
            "type": "object",
            "required": self.always.split(),
            "properties": {name: {} for name in names},
            "additionalProperties": False,
        }
        if self.each:
            return {"type": "array", "items": own}
        return {"type": "object", "additionalProperties": own} if self.names else own


@dataclass(frozen=True, kw_only=True, slots=True)
class Printed:
    """What a verb prints with --json: one of several kinds of values."""

    forms: tuple[Keys, ...] = field(default_factory=tuple)

    def faults(self, value: Any) -> list[str]:
        """Return what is wrong about a value by the form that it is nearest to; [] where one fits."""
        return min((form.faults(value) for form in self.forms), key=len)


def _one(always: str, sometimes: str = "", **more: Any) -> Printed:
    return Printed(forms=(Keys(always=always, sometimes=sometimes, **more),))


_LAW = (
    "kind format code domains targets law method loss irreducible_loss amplitude exponent rho budget_amplitude budget_exponent "
    "transfer by_share unique_volumes repeats volumes intervals status fit noise noise_common seed_effects max_exponent profile "
    "budget_range table_digest notes outliers outliers_kept response suspects holdout comparison bootstrap"
)
_ALLOCATION = (
    "kind format code domains targets budget draws law weights near_optimal intervals shadow_price level together tolerance "
    "min_weight predicted_loss minimized objective gap effective_budget baselines told_apart parts loudest_targets by_objective "
    "notes"
)
_ALLOCATION_MAY = (
    "beside response max_weight fixed volumes max_epochs cost no_worse_than target_weights predicted_score predicted unit "
    "predicted_error extrapolation"
)
_COMPARISON = "scores differences controls best proxy missing unfinished set_aside notes level"
_HANDED_OVER = (
    Keys(when="--submit-only", always="submitted logs"),
    Keys(when="--dry-run", always="script"),
)
_STRATEGIES = (
    "predicted-measured predicted-measured-by-target law-accuracy law-choices strategy-noise strategy-pairs"
)
_TABLES = f"answer by-objective mixtures transfer {_STRATEGIES}"
_PROBES = "scores made failed set_aside notes"
_WHOLE = (
    Keys(when="a study of mixtures: table to its rows", sometimes=_TABLES),
    Keys(when="a study of encoders", always="runs table", sometimes=f"{_PROBES} laws report answer"),
    *_HANDED_OVER,
)
_SCORE_LAWS = "kind format series references crossings pairs limits notes level sentences"

JSON_KEYS: Mapping[str, Printed] = {
    "manifest": _one("layouts manifest domains notes set_aside"),
    "audit": Printed(
        forms=(
            Keys(when="volumes", always="files counts findings fitness written notes"),
            Keys(when="images", always="images seen counts findings written"),
        )
    ),
    "label": _one(
        "rows empty different repeated by labels notes check written",
        "rules asked kept refused nonsense not_taken answers",
    ),
    "init": Printed(
        forms=(
            Keys(
                when="a study of mixtures",
                always="study volumes",
                sometimes="fields proposal spacing_mm crop",
            ),
            Keys(
                when="a study of encoders",
                always="study seen training_images objectives samples starts seeds budget budget_unit tasks references study_file",
            ),
        )
    ),
    "prepare": Printed(
        forms=(
            Keys(when="volumes", always="training validation set_aside label_maps_not_used findings fitness"),
            Keys(when="images", always="training validation made labels set_aside texts"),
        )
    ),
    "estimate": Printed(
        forms=(
            Keys(when="nothing is left", always="runs_left", sometimes="probes"),
            Keys(
                when="a study of mixtures",
                always="runs_left work at_once seconds disk_bytes run_bytes probe",
                sometimes="parameters flops_per_draw state_bytes draw_bytes rows",
            ),
            Keys(
                when="a study of encoders",
                always="runs_left work at_once seconds disk_bytes",
                sometimes="probes",
            ),
        )
    ),
    "run": Printed(
        forms=(
            Keys(when="a study of mixtures", always="runs kinds measurements table"),
            Keys(
                when="--pilot",
                always="budgets runs falls_per_doubling regime seconds_per_draw proposal cost stopped written",
            ),
            Keys(when="a study of encoders", always="runs table"),
            *_HANDED_OVER,
        )
    ),
    "pretrain": Printed(forms=(Keys(when="table to its rows", sometimes=_STRATEGIES), *_HANDED_OVER)),
    "refine": _one("rounds choice told later draws stopped sentence of_budget"),
    "work": _one("made steps failed left others exit_code"),
    "status": Printed(
        forms=(
            Keys(
                when="a study of mixtures",
                always="steps next now finetuning refine fitness regime problems notes",
            ),
            Keys(when="a study of encoders", always="steps next now subsets runs left_behind problems notes"),
        )
    ),
    "study run": Printed(forms=_WHOLE),
    "demo": Printed(forms=_WHOLE),
    "table": _one(
        "runs losses domains targets budgets seeds notes odd outliers suspects written",
        "scores response errors error_of",
    ),
    "fit": Printed(
        forms=(
            Keys(when="a study", always="laws regime"),
            Keys(when="a table", always=f"{_LAW} regime", sometimes="irreducible_error"),
        )
    ),
    "allocate": Printed(
        forms=(
            Keys(when="a law", always=_ALLOCATION, sometimes=_ALLOCATION_MAY),
            Keys(
                when="a study: strategy to its mixture",
                always="weights",
                sometimes=f"{_ALLOCATION} {_ALLOCATION_MAY}",
                names=True,
            ),
        )
    ),
    "plan": Printed(
        forms=(
            Keys(
                when="a law of mixtures",
                always="budget weights wanted predicted_loss uniform_budget notes",
                sometimes="response predicted_score wanted_score",
            ),
            Keys(when="laws of scores", always="level needed"),
        )
    ),
    "path": _one("axis values weights predicted_loss objective gap kinks", "response predicted_score"),
    "structure": _one(
        "budget weights mean_outgoing_transfer mean_incoming_transfer roles rate direct effective_budget effective amplification"
    ),
    "suggest": _one("run weights budget gain gain_per_draw share", each=True),
    "predict": Printed(
        forms=(
            Keys(
                when="a law of mixtures",
                always="budget weights predicted_loss mean intervals seed_doubt extrapolation",
                sometimes="response predicted_score predicted_error",
            ),
            Keys(when="laws of scores", always="level predicted"),
        )
    ),
    "finetune": Printed(forms=(Keys(always="results"), *_HANDED_OVER)),
    "probe": Printed(
        forms=(
            Keys(when="a study", always=_PROBES),
            Keys(when="folders of encoders", always=f"{_COMPARISON} made out"),
        )
    ),
    "scale": _one(_SCORE_LAWS, "table"),
    "compare": _one("", f"strategies {_COMPARISON}"),
    "report": _one("report", "answer studies"),
    "export": _one("folder files read", "run weights"),
    "doctor": _one("versions system devices cores machine_cores threads memory_bytes disk extras slow"),
    "cache list": _one("digest codecs recipe domains set_aside"),
    "cache verify": _one("damaged removed", "volumes images"),
    "cache prune": _one("files bytes removed"),
    "cache restore": _one("written key domain"),
}
"""Verb to what it prints with --json."""
