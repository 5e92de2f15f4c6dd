"""A hub of ten volumes: what cures a law that does not know that repeats are worth less?

    python benchmarks/refine_repetition.py [--worlds 3] [--bootstrap 100]

In each simulated world one domain of ten volumes helps every target, and its repeats lose their worth (R 20 epochs); the
others have eighty volumes. Proxies (pure runs, vertex runs, anchors) end at 1,000 draws, the budget to allocate is 16,000.
Nothing is trained: the runs of the study, and those of refine, are measured in the world, with 1% of noise. Printed are the
hub's share, the loss that is predicted and the true one of the mixture, and its regret: how much the true loss is
above that of the best mixture, as the mean over the worlds and for each world.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.optimize import minimize

from voxmix._io import write_json
from voxmix.allocation.refinement import Refinement
from voxmix.law import LawParameters, forms
from voxmix.study import DataSettings, FitSettings, Study, StudyAllocation, StudyConfig, StudyView, refining
from voxmix.study.listener import Listener

HUB, FEW, MANY = "HUB", 10, 80
DOMAINS = ("A", "B", "C", HUB)
BUDGETS, BUDGET, LEAST = (125, 250, 500, 1000), 16000, 0.05


@dataclass(frozen=True, kw_only=True)
class World:
    """A law with repetition, and the noise of its runs."""

    law: LawParameters
    noise: float

    @classmethod
    def made(cls, seed: int, *, rate: float = 20.0, noise: float = 0.01) -> "World":
        rng, count = np.random.default_rng(seed), len(DOMAINS)
        transfer = rng.uniform(0.05, 0.2, (count, count))
        transfer[-1] = rng.uniform(0.7, 1.0, count)
        np.fill_diagonal(transfer, 1.0)
        law = LawParameters.make(
            irreducible_loss=rng.uniform(0.003, 0.006, count),
            amplitude=rng.uniform(0.8, 1.2, count),
            exponent=rng.uniform(0.4, 0.5, count),
            transfer=transfer,
            unique=np.array([*[MANY] * (count - 1), FEW], dtype=np.float64),
            repeats=np.full(count, rate),
        )
        return cls(law=law, noise=noise)

    def loss(self, weights: np.ndarray, budget: float) -> np.ndarray:
        """Return the true loss per target."""
        return forms.predict(self.law, np.asarray(weights)[None], np.array([float(budget)]))[0, 0]

    def best(self, budget: float) -> np.ndarray:
        """Return the mixture of the least mean loss, each share at least LEAST."""
        count = len(DOMAINS)
        tries = [
            minimize(
                lambda w: self.loss(w, budget).mean() * 100,
                start,
                bounds=[(LEAST, 1)] * count,
                constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
                options={"ftol": 1e-12, "maxiter": 500},
            )
            for start in (
                np.full(count, 1 / count),
                np.array([LEAST] * (count - 1) + [1 - LEAST * (count - 1)]),
            )
        ]
        return np.asarray(min(tries, key=lambda done: done.fun).x)

    def measure(self, view: StudyView, specs: Any, *others: object) -> None:
        """Write the result of every run that is pending: stands in for voxmix.study.training.train_runs."""
        for spec in view.study.pending(specs):
            weights = np.array([spec.mixture.as_dict()[name] for name in DOMAINS])
            rng = np.random.default_rng([spec.budget, spec.seed, *(weights * 1e6).astype(int).tolist()])
            losses = self.loss(weights, spec.budget) * np.exp(self.noise * rng.standard_normal(len(DOMAINS)))
            draws = spec.mixture.draws(spec.budget).tolist()
            folder = view.study.run_dir(spec)
            write_json(
                folder / "result.json",
                {
                    "kind": "run",
                    "format": 1,
                    "run_id": spec.run_id,
                    "spec": spec.as_dict(),
                    "losses": {
                        name: {"loss": float(loss), "loss_se": 0.0}
                        for name, loss in zip(DOMAINS, losses, strict=True)
                    },
                    "draws": dict(zip(DOMAINS, draws, strict=True)),
                    "unique_volumes": {
                        name: min(int(n), volumes(name)) for name, n in zip(DOMAINS, draws, strict=True)
                    },
                    "volumes": {name: volumes(name) for name in DOMAINS},
                    "seconds": 1.0,
                },
            )
            write_json(folder / "spec.json", spec.as_dict())


def volumes(name: str) -> int:
    return FEW if name == HUB else MANY


def study_of(world: World, root: Path, *, bootstrap: int, **fit: Any) -> StudyView:
    """Return a study of the world whose proxies are measured."""
    from voxmix.design import StudyDesign
    from voxmix.volumes import PreparedCache, Recipe
    from voxmix.volumes.intensity import RULES
    from voxmix.volumes.preparing.cache import PreparedVolume

    recipe = Recipe(
        spacing_mm=4.0, min_shape=(16, 16, 16), intensity=dict.fromkeys(DOMAINS, RULES["z-score"])
    )
    config = StudyConfig(
        name="hub of ten volumes",
        data=DataSettings(path="volumes"),
        recipe=asdict(recipe),
        design=StudyDesign(budgets=BUDGETS, seeds=1, vertex_seeds=1, anchor_seeds=2),
        fit=FitSettings(bootstrap=bootstrap, **fit),
        allocation=StudyAllocation(
            budget=BUDGET, min_weight=LEAST, strategies=("offset-diversity-aware", "refined")
        ),
    )
    study = Study.create(root, config)
    prepared = tuple(
        PreparedVolume(
            key=f"{name}{i:03}",
            domain=name,
            subject=f"s{name}{i}",
            split="train" if i < volumes(name) else "validation",
            shape=(16, 16, 16),
            spacing_mm=4.0,
            file=f"volumes/{name}{i:03}.npy",
        )
        for name in DOMAINS
        for i in range(volumes(name) + 2)
    )
    write_json(
        study.cache_dir / "index.json",
        PreparedCache(root=study.cache_dir, volumes=prepared, recipe=recipe).as_dict(),
    )
    (study.cache_dir / "volumes").mkdir()
    (root / "volumes").mkdir()
    study = Study.open(root)
    study.mark_made("prepare", study.preparation_inputs)
    view = StudyView(study)
    world.measure(view, view.proxies)
    return view


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A mixture, and the mean loss that is predicted for it at BUDGET."""

    weights: np.ndarray
    predicted: float
    draws: int = 0
    rounds: int = 0
    stopped: str = ""


def law_alone(view: StudyView, world: World, **asked: Any) -> Answer:
    """Return what the study's most general law chooses."""
    from voxmix.allocation import allocate
    from voxmix.study.laws import fitted

    law = fitted(view, ("offset-diversity",))["offset-diversity"]
    found = allocate(law, replace(view.asked, **asked))
    return Answer(weights=found.mixture.weights, predicted=float(found.objective))


def rounds_of(view: StudyView, world: World, *, budget: int | None = None, rounds: int = 4) -> Refinement:
    """Return the rounds of refine, measured in the world."""
    with patch.object(refining, "train_runs", world.measure):
        return refining.refine_study(view, Listener(), budget=budget, rounds=rounds)


def refined(view: StudyView, world: World, *, budget: int | None = None, rounds: int = 4) -> Answer:
    """Return what the rounds of refine end in."""
    found = rounds_of(view, world, budget=budget, rounds=rounds)
    return Answer(
        weights=found.choice.weights,
        predicted=found.told[1][0],
        draws=found.draws,
        rounds=len(found.rounds),
        stopped=found.stopped,
    )


def refined_then_law(view: StudyView, world: World, *, budget: int | None = None) -> Answer:
    """Return what the law that is fitted to the rounds too chooses for the study's budget (fit: refine_runs: true)."""
    found = refined(view, world, budget=budget)
    with_rounds = replace(view.config, fit=replace(view.config.fit, refine_runs=True))
    answer = law_alone(StudyView(replace(view.study, config=with_rounds)), world)
    return replace(answer, draws=found.draws, rounds=found.rounds, stopped=found.stopped)


Way = tuple[str, dict[str, Any], Callable[..., Answer], dict[str, Any]]
FITTED: dict[str, Any] = {"repetition": "fitted"}
WAYS: tuple[Way, ...] = (
    ("the law without repetition", {}, law_alone, {}),
    ("refined at 1,000 draws", {}, refined, {}),
    ("refined at 16,000 draws", {}, refined, {"budget": BUDGET}),
    ("rounds at 1,000 draws, then the law for 16,000", {}, refined_then_law, {}),
    ("max_epochs: 100", {}, law_alone, {"max_epochs": 100.0}),
    ("repetition: fitted", FITTED, law_alone, {}),
    ("repetition: fitted, refined at 1,000 draws", FITTED, refined, {}),
    ("repetition: fitted, rounds at 1,000, then the law for 16,000", FITTED, refined_then_law, {}),
)


def told(values: Sequence[float]) -> str:
    """Return the mean, and where there are several worlds the value of each."""
    each = f" ({', '.join(f'{value:+.1%}' for value in values)})" if len(values) > 1 else ""
    return f"{np.mean(values):+.1%}{each}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--bootstrap", type=int, default=100)
    parser.add_argument("--ways", type=int, nargs="*", help="numbers of the ways, from 0; all if left out")
    options = parser.parse_args()
    print("| way | hub's share | predicted over true | regret | draws of refine | ended |")
    print("|---|---:|---:|---:|---:|---|")
    worlds = [World.made(seed) for seed in range(options.worlds)]
    best = [world.best(BUDGET) for world in worlds]
    uniform = [w.loss(np.full(len(DOMAINS), 1 / len(DOMAINS)), BUDGET).mean() / w.loss(b, BUDGET).mean() - 1
               for w, b in zip(worlds, best, strict=True)]  # fmt: skip
    print(f"| the best mixture | {np.mean([b[-1] for b in best]):.0%} | | 0.0% | | |", flush=True)
    print(f"| uniform | {1 / len(DOMAINS):.0%} | | {told(uniform)} | | |", flush=True)
    for name, fit, way, settings in WAYS if options.ways is None else [WAYS[k] for k in options.ways]:
        rows = []
        for world, known in zip(worlds, best, strict=True):
            with tempfile.TemporaryDirectory() as folder:
                view = study_of(world, Path(folder) / "study", bootstrap=options.bootstrap, **fit)
                answer = way(view, world, **settings)
            true = world.loss(answer.weights, BUDGET).mean()
            rows.append((answer, answer.predicted / true - 1, true / world.loss(known, BUDGET).mean() - 1))
        ends = ", ".join(f"{a.rounds} {a.stopped}" for a, *_ in rows if a.stopped)
        print(
            f"| {name} | {np.mean([a.weights[-1] for a, *_ in rows]):.0%} | {np.mean([r[1] for r in rows]):+.1%} | "
            f"{told([r[2] for r in rows])} | {np.mean([a.draws for a, *_ in rows]):,.0f} | {ends} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
