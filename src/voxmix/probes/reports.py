"""Reports: what a decoder writes from the features of an image, against what was reported, beside what needs no decoder."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Float32

from voxmix.generation.baselines import commonest, nearest
from voxmix.generation.write import Written, write_reports
from voxmix.probes.data import ProbeCase
from voxmix.probes.features import FeatureSet
from voxmix.probes.heads import HeadResult, Probing
from voxmix.probes.persons import inner_split
from voxmix.scores.result import ValuedCase
from voxmix.texts.generated import GENERATED_FILE, GeneratedReport, write_generated
from voxmix.texts.scoring import TextScores, score_texts
from voxmix.texts.scoring.score import chosen_scores

_SURE = 1.645
"""Standard errors: of one side, 95%."""


def reports_head(probing: Probing) -> HeadResult:
    """Train an adapter and a decoder on training reports, write those of the test images, and score them.

    The last layer's class token and patches are all that it sees. Beside each score stands that of the commonest training
    report and of the report of the training image with the most similar features, both scored alike: a decoder that does not
    look at the image is no better than the first. The texts lie beside the result, each marked as generated.
    """
    data, settings = probing.data, probing.settings.reports
    names, left_out = chosen_scores(settings.scores)
    weights = {name: Path(folder) for name, folder in settings.weights.items()}
    found = probing.store.features(probing.encoder, data, layers=1, patches=True, progress=probing.progress)
    train, test = data.part("train"), data.part("test")
    known, asked = found.take(data.places("train")), found.take(data.places("test"))
    texts, truth = [data.text(case) for case in train], [data.text(case) for case in test]
    written = write_reports(
        _tokens(known),
        texts,
        inner_split(data, share=probing.settings.inner, seed=probing.settings.seed),
        _tokens(asked),
        tokenizer=data.source.text_tokenizer,
        settings=settings,
        seed=probing.settings.seed,
        progress=probing.progress,
    )
    similar = nearest(_pooled(known), _pooled(asked))
    usual = commonest(texts)
    scores = score_texts(written.texts, truth, names=names, weights=weights)
    others = {
        COMMONEST: score_texts([usual] * len(truth), truth, names=names, weights=weights),
        NEAREST: score_texts([texts[place] for place in similar], truth, names=names, weights=weights),
    }
    reports = [
        GeneratedReport(case=case.case, text=text, nearest=train[place].case, scores=scores.case(row))
        for row, (case, text, place) in enumerate(zip(test, written.texts, similar.tolist(), strict=True))
    ]
    about = {"task": data.name, "encoder": probing.encoder.digest, "decoder": _kind(settings.decoder)}
    write_generated(probing.folder / GENERATED_FILE, reports, about)
    return HeadResult(
        kind="values",
        cases=[_valued(case, scores.case(row)) for row, case in enumerate(test)],
        metrics=names,
        chosen={"epoch": written.learned.epoch},
        figures=_figures(scores, others, written),
        notes=(*left_out, *_notes(written, scores, others, names[0], test)),
    )


COMMONEST, NEAREST = "commonest training report", "report of the most similar training image"
"""What stands after a score's name in the figures of a result."""


def _kind(decoder: str) -> str:
    """Return what a decoder is called: never the path of a folder."""
    return "own" if decoder == "own" else Path(decoder).name


def _tokens(features: FeatureSet) -> Float16[np.ndarray, "case token feature"]:
    """Return the class token and the patches of the last layer."""
    assert features.tokens is not None
    first = np.asarray(features.cls[:, -1:], dtype=np.float16)
    return np.concatenate([first, np.asarray(features.tokens[:, -1])], axis=1)


def _pooled(features: FeatureSet) -> Float32[np.ndarray, "case feature"]:
    return features.pooled


def _valued(case: ProbeCase, values: Mapping[str, float | None]) -> ValuedCase:
    return ValuedCase(case=case.case, subject=case.subject, domain=case.domain, values=values)


def _figures(scores: TextScores, others: Mapping[str, TextScores], written: Written) -> dict[str, float]:
    figures = dict(scores.figures)
    for words, other in others.items():
        figures |= {f"{name}, {words}": other.mean(name) for name in other.values}
        figures |= {f"{name}, {words}": value for name, value in other.figures.items()}
    loss = written.learned.losses[written.learned.epoch - 1]
    figures |= {
        "loss per token": loss,
        "loss per token, features of another image": written.learned.without_images,
        "words replaced in generated texts": float(sum(written.replaced.values())),
        "generated texts cut at the cap": float(written.unfinished),
        "weights trained": float(written.weights),
    }
    return {name: round(value, 6) for name, value in figures.items() if math.isfinite(value)}


def _notes(
    written: Written,
    scores: TextScores,
    others: Mapping[str, TextScores],
    main: str,
    test: Sequence[ProbeCase],
) -> list[str]:
    notes = []
    for words, other in others.items():
        gain, error = _gain(scores.values[main], other.values[main], test)
        if not gain > _SURE * error:
            notes.append(
                f"{main} of generated reports, {scores.mean(main):.3f}, is not better beyond noise than of the {words}, "
                f"{other.mean(main):.3f}"
            )
    if written.replaced:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(written.replaced.items()))
        notes.append(f"replaced in generated texts, as they look like a person's: {kinds}")
    if written.cut:
        notes.append(
            f"{written.cut} training reports are longer than probes.reports.tokens and were learned to there"
        )
    if written.unfinished:
        notes.append(f"{written.unfinished} generated reports reached probes.reports.tokens before their end")
    if written.learned.epoch == len(written.learned.losses):
        notes.append(
            "the loss of report generation still fell at its last epoch; probes.reports.epochs may be too few"
        )
    return notes


def _gain(
    ours: Sequence[float | None], theirs: Sequence[float | None], test: Sequence[ProbeCase]
) -> tuple[float, float]:
    """Return the mean difference of two scores of the same images, and its standard error over persons."""
    of_person: dict[str, list[float]] = defaultdict(list)
    for one, other, case in zip(ours, theirs, test, strict=True):
        if one is not None and other is not None:
            of_person[case.subject].append(one - other)
    sums = np.array([sum(each) for each in of_person.values()])
    counts = np.array([len(each) for each in of_person.values()])
    if len(sums) < 2:
        return math.nan, math.nan
    mean = float(sums.sum() / counts.sum())
    spread = float(np.square(sums - mean * counts).sum())
    return mean, math.sqrt(len(sums) / (len(sums) - 1) * spread) / float(counts.sum())
