"""The rounds of ``voxmix refine``: what was proposed and predicted before training, kept in one file of the study."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxmix._io import digest, naming_damage, read_versioned, write_json
from voxmix.design import RunSpec
from voxmix.mixture import Mixture
from voxmix.run_settings import identity
from voxmix.study.config import StudyConfig

KIND, FORMAT = "refine", 1
REFINE_RUNS = "refine runs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One round, written before it is trained.

    Attributes:
        trained_as: digest of volumes, model, training and evaluation: rounds of others do not count.
        mixtures: the law's choice, then its neighbours.
        draws: volume draws of each run, one number per mixture.
        seeds: seeds 0 and on of each mixture.
        law: name of the law that chose.
        predicted: target to loss of the choice, and the low and high end that a measurement is expected in.
    """

    trained_as: str
    mixtures: tuple[Mixture, ...]
    draws: tuple[int, ...]
    seeds: int
    law: str
    predicted: dict[str, tuple[float, float, float]]

    def specs(self, config: StudyConfig, cache: str) -> tuple[RunSpec, ...]:
        """Return the runs of the round: every mixture with every seed."""
        return tuple(
            RunSpec(
                mixture=mixture,
                budget=draws,
                seed=seed,
                model=config.model,
                training=config.training,
                evaluation=config.evaluation,
                cache=cache,
            )
            for mixture, draws in zip(self.mixtures, self.draws, strict=True)
            for seed in range(self.seeds)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the round as JSON-like data."""
        return {
            "trained_as": self.trained_as,
            "mixtures": [mixture.as_dict() for mixture in self.mixtures],
            "draws": list(self.draws),
            "seeds": self.seeds,
            "law": self.law,
            "predicted": {name: list(values) for name, values in self.predicted.items()},
        }


def trained_as(config: StudyConfig, cache: str) -> str:
    """Return the digest of what all runs of a study have in common."""
    parts = (config.model.effective, config.training, config.evaluation)
    return digest([cache, *(identity(part) for part in parts)])


def read_rounds(path: Path) -> tuple[Round, ...]:
    """Return the rounds of a study's file; () where there is none.

    Raises:
        InputError: the file is damaged, or of another version.
    """
    if not path.exists():
        return ()
    value = read_versioned(path, kind=KIND, version=FORMAT)
    with naming_damage(path, remedy="delete it: finished runs stay, and the rounds begin again"):
        return tuple(
            Round(
                trained_as=str(item["trained_as"]),
                mixtures=tuple(Mixture.from_dict(mixture) for mixture in item["mixtures"]),
                draws=tuple(int(draws) for draws in item["draws"]),
                seeds=int(item["seeds"]),
                law=str(item["law"]),
                predicted={
                    str(name): (float(values[0]), float(values[1]), float(values[2]))
                    for name, values in item["predicted"].items()
                },
            )
            for item in value["rounds"]
        )


def write_rounds(path: Path, rounds: tuple[Round, ...]) -> None:
    """Write the rounds, atomically."""
    write_json(path, {"kind": KIND, "format": FORMAT, "rounds": [item.to_dict() for item in rounds]})
