"""How long the linear head of a probe takes, against scikit-learn's logistic regression with the same penalties.

    python benchmarks/probe_speed.py [--images 1000] [--persons 500] [--features 1000] [--labels 14] [--seed 0] [--json]

Features are made up: a few hidden causes that all features show with noise, and labels that follow from the causes with noise;
a tenth of the cells is not known. Both sides choose one penalty of six for all labels on the same fifth of the persons, by the
error of probabilities, and fit again on all training images. scikit-learn fits one label after the other with its default
solver (L-BFGS), once with its default tolerance and once tight enough to have its minimum. The largest difference of scores is
that of test probabilities against the tight fit at the penalty that was chosen. Times are those of the process on one thread.

scikit-learn is no dependency: pip install scikit-learn.
"""

import argparse
import json
import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from voxmix.probe_tasks import ProbeSettings, ProbeTask
from voxmix.probes.data import ProbeCase, ProbeData
from voxmix.probes.heads import brier, known_truth
from voxmix.probes.linear import fit_linear
from voxmix.probes.persons import inner_split

TIGHT = 1e-8


def made(images: int, persons: int, features: int, labels: int, seed: int) -> tuple[np.ndarray, ProbeData]:
    """Return features and the cases that they are of; a third of the persons judges."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(images, 40))
    values = causes @ rng.normal(size=(40, features)) + 2 * rng.normal(size=(images, features))
    truth = causes[:, :40] @ rng.normal(size=(40, labels)) / 4 + rng.normal(size=(images, labels)) > 0.5
    known = rng.random(truth.shape) > 0.1
    names = tuple(f"label {k}" for k in range(labels))
    cases = tuple(
        ProbeCase(
            case=f"c{k:06d}",
            subject=f"p{k * persons // images}",
            domain="",
            part="test" if k * persons // images < persons // 3 else "train",
            labels={name: int(truth[k, j]) for j, name in enumerate(names) if known[k, j]},
            item=None,
        )
        for k in range(images)
    )
    task = ProbeTask(kind="labels")
    return values, ProbeData(task=task, name="made", cases=cases, names=names, axes=2, source=None)


@dataclass
class Peer:
    """scikit-learn on the same standardized features."""

    tolerance: float

    def probability(
        self, train: np.ndarray, truth: np.ndarray, test: np.ndarray, penalty: float
    ) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        center, scale = train.mean(axis=0), train.std(axis=0)
        train, test = (train - center) / scale, (test - center) / scale
        found = []
        for column in truth.T:
            known = np.isfinite(column)
            model = LogisticRegression(C=1 / (penalty * known.sum()), tol=self.tolerance, max_iter=20_000)
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # L-BFGS may stop at the last digit before it meets a tight tolerance
                found.append(model.fit(train[known], column[known]).predict_proba(test)[:, 1])
        return np.stack(found, axis=1)

    def judged(
        self, features: np.ndarray, data: ProbeData, settings: ProbeSettings
    ) -> tuple[float, np.ndarray]:
        """Return the penalty that is chosen and the test probabilities."""
        train, test = (features[data.places(part)] for part in ("train", "test"))
        truth, kept = known_truth(data), inner_split(data, share=settings.inner, seed=settings.seed)
        errors = [
            brier(self.probability(train[~kept], truth[~kept], train[kept], penalty), truth[kept])
            for penalty in settings.penalties
        ]
        penalty = settings.penalties[int(np.argmin(errors))]
        return penalty, self.probability(train, truth, test, penalty)


def timed(call):
    began = time.process_time()
    found = call()
    return time.process_time() - began, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("images", 1000), ("persons", 500), ("features", 1000), ("labels", 14), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = ProbeSettings(seed=given.seed)
    features, data = made(given.images, given.persons, given.features, given.labels, given.seed)
    fit_linear(features[:, :8], data, penalties=settings.penalties)  # libraries are loaded once
    ours, result = timed(
        lambda: fit_linear(
            features, data, penalties=settings.penalties, inner=settings.inner, seed=settings.seed
        )
    )
    scores = np.array([[case.score[name] for name in data.names] for case in result.cases])
    default, (_, loose) = timed(lambda: Peer(1e-4).judged(features, data, settings))
    tight, (penalty, exact) = timed(lambda: Peer(TIGHT).judged(features, data, settings))
    found = {
        "images": given.images,
        "features": given.features,
        "labels": given.labels,
        "penalties": len(settings.penalties),
        "seconds": ours,
        "seconds_scikit_learn": default,
        "seconds_scikit_learn_tight": tight,
        "ratio": default / ours,
        "ratio_tight": tight / ours,
        "penalty": result.chosen["penalty"],
        "penalty_scikit_learn": penalty,
        "largest_difference": float(np.abs(scores - exact).max()),
        "largest_difference_of_default": float(np.abs(loose - exact).max()),
    }
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(
        f"{given.images:,} images, {given.features:,} features, {given.labels} labels, {len(settings.penalties)} penalties, one thread"
    )
    print(f"voxmix             {ours:8.2f} s, penalty {result.chosen['penalty']:g}")
    print(f"scikit-learn       {default:8.2f} s, {default / ours:.1f} times as long (default tolerance 1e-4)")
    print(
        f"scikit-learn       {tight:8.2f} s, {tight / ours:.1f} times as long (tolerance {TIGHT:g}), penalty {penalty:g}"
    )
    print(
        f"largest difference of test scores {found['largest_difference']:.1e} (scikit-learn's two: {found['largest_difference_of_default']:.1e})"
    )


if __name__ == "__main__":
    main()
