"""Labels that two reports agree on, by the rules of :mod:`voxmix.texts.labels`."""

from collections.abc import Mapping, Sequence

from voxmix.texts.labels import check_labels, label_reports


def agreement(said: Mapping[str, int | None], known: Mapping[str, int | None]) -> float:
    """Return F1 of the labels that are present in one report of those in the other; 1 where neither has any.

    A label that the known report names with doubt alone counts on neither side.
    """
    there = {name for name, value in known.items() if value == 1}
    ours = {name for name, value in said.items() if value == 1 and value_or_absent(known, name) is not None}
    return 2 * len(there & ours) / (len(there) + len(ours)) if there or ours else 1.0


def value_or_absent(known: Mapping[str, int | None], name: str) -> int | None:
    """Return a label's value, absent where a report does not name it."""
    return known.get(name, 0)


def found_labels(texts: Sequence[str]) -> list[dict[str, int | None]]:
    """Return label to 1 (present), 0 (denied, or not named) or None (named with doubt alone) of each report."""
    found = []
    for labels in label_reports(texts):
        doubted = set(labels.uncertain)
        found.append(
            {name: None if name in doubted else int(value == 1) for name, value in labels.values.items()}
        )
    return found


def label_f1(generated: Sequence[str], references: Sequence[str]) -> list[float | None]:
    """Return :func:`agreement` of each pair of reports."""
    pairs = zip(found_labels(generated), found_labels(references), strict=True)
    return [agreement(said, known) for said, known in pairs]


def label_figures(generated: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return micro and macro F1 over all reports, and F1 of each label; labels that no known report has are left out."""
    check = check_labels(found_labels(generated), found_labels(references))
    figures = {"label F1, micro": check.micro_f1, "label F1, macro": check.macro_f1}
    figures |= {f"F1 of {score.label}": score.f1 for score in check.scores if score.support}
    return {name: value for name, value in figures.items() if value == value}
