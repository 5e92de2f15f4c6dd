"""Scores whose models a user has in a local folder: RadGraph, CheXbert, RadFact. Nothing is ever fetched.

Each library would fetch its weights at run time. Here the folder is checked before, and the network is out of reach while a
library loads and scores (:mod:`voxmix.texts.scoring.offline`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from voxmix.errors import InputError, MissingDependencyError
from voxmix.texts.scoring.offline import without_network

Scorer = Callable[[Sequence[str], Sequence[str]], list[float | None]]
"""Generated and known reports to a score of each pair."""


def radgraph(folder: Path | None) -> Scorer:
    """Return F1 of RadGraph's entities and relations, reward level "partial" (Jain et al. 2021, Delbrouck et al. 2022)."""
    place = _folder(folder, "RadGraph F1", needs=("radgraph-xl/config.json", "radgraph-xl/weights.th"))
    library = _library("radgraph", "RadGraph F1", install="radgraph")
    with _offline("RadGraph F1", place):
        model = library.F1RadGraph(
            reward_level="partial",
            model_type="radgraph-xl",
            model_cache_dir=str(place),
            tokenizer_cache_dir=str(place),
        )

    def score(generated: Sequence[str], references: Sequence[str]) -> list[float | None]:
        with _offline("RadGraph F1", place):
            return [float(reward) for reward in model(hyps=list(generated), refs=list(references))[1]]

    return score


def chexbert(folder: Path | None) -> Scorer:
    """Return F1 of the 14 labels that CheXbert finds (Smit et al. 2020), doubt counted as present, as its authors do."""
    place = _folder(folder, "CheXbert F1", needs=("chexbert.pth",))
    library = _library("f1chexbert.f1chexbert", "CheXbert F1", install="f1chexbert")
    with _offline("CheXbert F1", place):
        before, library.CACHE_DIR = library.CACHE_DIR, str(place)
        try:
            model = library.F1CheXbert()
        finally:
            library.CACHE_DIR = before

    def score(generated: Sequence[str], references: Sequence[str]) -> list[float | None]:
        scores: list[float | None] = []
        with _offline("CheXbert F1", place):
            for said, known in zip(generated, references, strict=True):
                ours, theirs = (
                    {k for k, value in enumerate(model.get_label(text)) if value} for text in (said, known)
                )
                total = len(ours) + len(theirs)
                scores.append(2 * len(ours & theirs) / total if total else 1.0)
        return scores

    return score


def radfact(folder: Path | None) -> Scorer:
    """Return RadFact's logical F1 (Bannur et al. 2024): phrases of each report that the other one entails.

    The folder holds RadFact's own settings, whose endpoints must be on this machine.
    """
    place = _folder(folder, "RadFact", needs=("radfact.yaml", "report_to_phrases.yaml"))
    library = _library(
        "radfact.metric.radfact", "RadFact", install="git+https://github.com/microsoft/RadFact"
    )
    library.CONFIGS_DIR = place
    with _offline("RadFact", place):
        model = library.RadFactMetric(is_narrative_text=True)

    def score(generated: Sequence[str], references: Sequence[str]) -> list[float | None]:
        said, known = ({str(k): text for k, text in enumerate(texts)} for texts in (generated, references))
        with _offline("RadFact", place):
            results = model.compute_results_per_sample(candidates=said, references=known)
        found = {str(one.study_id): one.scores for one in results}
        return [None if (one := found.get(key)) is None else float(one.logical_f1) for key in said]

    return score


def _folder(folder: Path | None, name: str, *, needs: Sequence[str]) -> Path:
    wanted = f"a local folder with {' and '.join(needs)}"
    if folder is None:
        raise InputError(
            f"the score {name!r} needs {wanted}; name it under reports.weights, or leave the score out"
        )
    missing = [one for one in needs if not (folder / one).is_file()]
    if missing:
        raise InputError(
            f"the score {name!r} needs {wanted}; {folder} has no {' and no '.join(missing)}: nothing is fetched from the "
            "network, so put it there, or leave the score out"
        )
    return folder


def _library(module: str, name: str, *, install: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"the score {name!r} needs the library {module.split('.')[0]!r}, which cannot be imported ({error}); run: pip "
            f"install {install!r}, or leave the score out"
        ) from None


@contextmanager
def _offline(name: str, place: Path) -> Iterator[None]:
    """Run a library without the network, and say in one sentence what it could not do."""
    try:
        with without_network():
            yield
    except InputError:
        raise
    except Exception as error:  # whatever a library that is not ours raises
        raise InputError(
            f"the score {name!r} could not be made with what lies in {place} ({type(error).__name__}: {str(error)[:200]}); "
            "nothing is fetched from the network: put all of its files there, with those of its tokenizer, or leave the score out"
        ) from None
