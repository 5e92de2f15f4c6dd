"""A made-up study whose truth is known: asymmetric transfer, uneven exponents, variety worth something."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import pytest
from browser import Browser, browsing

from voxmix.allocation import Allocation, allocate
from voxmix.design import RunSpec
from voxmix.law import FittedLaw, fit
from voxmix.measurement import MeasurementTable
from voxmix.mixture import Mixture
from voxmix.report import Check, DomainSummary, Picture, ReportContent, render_report
from voxmix.runs import RunResult

PAPER = ("ABD-CT", "ABD-MRI", "BRAIN-T1", "BRAIN-T2", "HN-CT", "HN-PET")
MODALITIES = (("CT", "abdomen"), ("MR", "abdomen"), ("MR", "brain"), ("MR", "brain"), ("CT", "head and neck"))
TAU = np.array(
    [
        [1.00, 0.47, 0.32, 0.35, 0.25, 0.04],
        [0.56, 1.00, 0.20, 0.26, 0.14, 0.03],
        [0.24, 0.16, 1.00, 0.22, 0.39, 0.06],
        [0.49, 0.32, 0.26, 1.00, 0.19, 0.03],
        [0.25, 0.14, 0.39, 0.19, 1.00, 0.28],
        [0.10, 0.03, 0.07, 0.03, 0.05, 1.00],
    ]
)
BUDGETS = (1000, 2000, 4000, 8000)
RHO = 0.8


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file."""
    with browsing() as found:
        yield found


class World:
    """A world in which the diversity law holds, up to noise; everything follows from the seed."""

    def __init__(self, domains: Sequence[str], *, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.domains = tuple(domains)
        count = len(self.domains)
        self.tau = TAU if count == 6 else np.where(np.eye(count), 1.0, rng.uniform(0.03, 0.6, (count, count)))
        self.asymptote = np.resize([0.014, 0.012, 0.008, 0.007, 0.018, 0.003], count)
        self.amplitude = np.resize([1.5, 1.6, 0.5, 0.6, 1.9, 3.0], count)
        self.exponent = np.resize([0.52, 0.58, 0.55, 0.6, 0.5, 0.78], count)
        self.volumes = np.resize([60, 24, 60, 60, 42, 18], count)

    def loss(self, mixture: Mixture, budget: float) -> np.ndarray:
        drawn = (self.tau * (mixture.weights * budget)[:, None]) ** RHO
        return self.asymptote + self.amplitude * drawn.sum(axis=0) ** (-self.exponent / RHO)

    def noisy(self, mixture: Mixture, budget: float, seed: int, *, noise: float = 0.02) -> np.ndarray:
        rng = np.random.default_rng([seed, int(budget), *(mixture.weights * 1e6).astype(int)])
        return self.loss(mixture, budget) * np.exp(noise * rng.standard_normal(len(self.domains)))

    def table(
        self,
        *,
        drop: frozenset[tuple[str, str]] = frozenset(),
        anchors: bool = True,
        vertices: bool = False,
        noise: float = 0.02,
    ) -> MeasurementTable:
        mixtures = [Mixture.pure(self.domains, name) for name in self.domains]
        if vertices:
            mixtures += [Mixture.vertex(self.domains, name, min_weight=0.05) for name in self.domains]
        mixtures += [Mixture.uniform(self.domains)] if anchors else []
        rows = []
        for number, mixture in enumerate(mixtures):
            for budget in BUDGETS:
                losses = self.noisy(mixture, budget, 1, noise=noise)
                for j, target in enumerate(self.domains):
                    if (mixture.source or "", target) in drop:
                        continue
                    rows.append(
                        {"run": f"r{number}-{budget}", "seed": 1, "budget": budget, "target": target}
                        | {"loss": float(losses[j]), "loss_se": float(losses[j]) / 30}
                        | {f"weight:{d}": float(w) for d, w in mixture.as_dict().items()}
                    )
        return MeasurementTable.from_rows(rows, domains=self.domains)

    def run(self, mixture: Mixture, budget: int, seed: int) -> RunResult:
        draws = dict(zip(self.domains, mixture.draws(budget).tolist(), strict=True))
        volumes = dict(zip(self.domains, self.volumes.tolist(), strict=True))
        losses = self.noisy(mixture, budget, seed)
        return RunResult(
            spec=RunSpec(mixture=mixture, budget=budget, seed=seed, cache="abc"),
            losses={
                d: {"loss": float(v), "loss_se": 0.001} for d, v in zip(self.domains, losses, strict=True)
            },
            draws=draws,
            unique_volumes={d: min(n, volumes[d]) for d, n in draws.items()},
            volumes=volumes,
            seconds=budget / 180,
            details={},
        )

    def summaries(self) -> tuple[DomainSummary, ...]:
        kinds = (*MODALITIES, ("PET", "head and neck"))
        return tuple(
            DomainSummary(
                name=name,
                modality=kinds[i % 6][0],
                anatomy=kinds[i % 6][1],
                training=int(self.volumes[i]),
                validation=int(self.volumes[i]) // 4,
                set_aside={"all voxels are zero": 1, "not a 3D image": 2} if i == 1 else {},
            )
            for i, name in enumerate(self.domains)
        )

    def pictures(self) -> tuple[Picture, ...]:
        x, y = np.mgrid[-1:1:48j, -1:1:48j]
        found = []
        for i, name in enumerate(self.domains):
            body = ((x / 0.8) ** 2 + (y / 0.6) ** 2 < 1) * (0.4 + 0.1 * i / len(self.domains))
            body = body + 0.4 * ((x - 0.2) ** 2 + (y - 0.2) ** 2 < 0.04 * (1 + i / 4))
            hidden = np.kron(np.random.default_rng(i).random((6, 6)) < 0.75, np.ones((8, 8))) > 0
            masked = np.where(hidden, 0, body)
            found.append(
                Picture(
                    domain=name,
                    original=body.astype(np.float16),
                    masked=masked.astype(np.float16),
                    reconstructed=np.where(hidden, 0.9 * body + 0.02, body).astype(np.float16),
                )
            )
        return tuple(found)


@lru_cache(maxsize=8)
def _laws(domains: tuple[str, ...], bootstrap: int) -> dict[str, FittedLaw]:
    table = World(domains).table()
    return {
        name: fit(table, law=name, bootstrap=bootstrap, seed=0) for name in ("naive", "transfer", "diversity")
    }


@lru_cache(maxsize=8)
def _mixtures(domains: tuple[str, ...], budget: int, bootstrap: int) -> dict[str, Allocation | Mixture]:
    world, laws = World(domains), _laws(domains, bootstrap)
    counts = dict(zip(domains, world.volumes.tolist(), strict=True))
    names = {"naive": "transfer-naive", "transfer": "transfer-aware", "diversity": "diversity-aware"}
    return {
        "uniform": Mixture.uniform(domains),
        "data-proportional": Mixture.from_counts(counts),
    } | {names[name]: allocate(law, budget=budget, min_weight=0.05) for name, law in laws.items()}


def build(
    domains: Sequence[str] = PAPER,
    *,
    budget: int = 16000,
    seeds: int = 3,
    noise: float = 0.02,
    bootstrap: int = 40,
    study: str = "six phantom domains",
) -> ReportContent:
    """Return a whole study's content."""
    names = tuple(domains)
    world = World(names)
    laws, mixtures = dict(_laws(names, bootstrap)), dict(_mixtures(names, budget, bootstrap))
    plain = {k: v.mixture if isinstance(v, Allocation) else v for k, v in mixtures.items()}
    checks = tuple(
        Check(
            strategy=strategy,
            budget=budget,
            seed=seed,
            target=target,
            loss=float(loss),
            loss_se=float(loss) / 30,
        )
        for strategy, mixture in plain.items()
        for seed in range(1, seeds + 1)
        for target, loss in zip(names, world.noisy(mixture, budget, seed, noise=noise), strict=True)
    )
    proxies = [Mixture.pure(names, name) for name in names] + [Mixture.uniform(names)]
    runs = [world.run(mixture, n, 1) for mixture in proxies for n in BUDGETS]
    kinds = {run.spec.run_id: "anchors" if run.spec.mixture.source is None else "pure runs" for run in runs}
    runs += [world.run(mixture, budget, seed) for mixture in plain.values() for seed in range(1, seeds + 1)]
    return ReportContent(
        study=study,
        made="2026-11-22 20:00 UTC",
        budget=budget,
        min_weight=0.05,
        domains=world.summaries(),
        measurements=world.table(),
        laws=laws,
        strategies=mixtures,
        by_budget=tuple(allocate(laws["diversity"], budget=n, min_weight=0.05) for n in (4000, 16000, 64000)),
        checks=checks,
        pictures=world.pictures(),
        runs=tuple(runs),
        kinds=kinds,
        facts={
            "Versions": {"python": "3.11.9", "voxmix": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0"},
            "Machine": {"system": "Linux x86_64, 2 cores", "device": "cpu"},
            "Digests": {"prepared volumes": "0123456789abcdef", "evaluation set": "fedcba9876543210"},
        },
        notes=("This study was made up for tests.",),
    )


@pytest.fixture(scope="session")
def make_content() -> Callable[..., ReportContent]:
    """Return :func:`build`."""
    return build


@pytest.fixture(scope="session")
def content() -> ReportContent:
    """A finished study of the paper's six domains."""
    return build()


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    """Return the class of worlds."""
    return World


@pytest.fixture(scope="session")
def page(content: ReportContent) -> str:
    """The report of :func:`content`."""
    return render_report(content)
