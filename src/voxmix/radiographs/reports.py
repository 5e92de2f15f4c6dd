"""What a radiologist writes about a film: sections, synonyms, sides, negations, doubts, comparisons, and what is left out.

A report never denies what is there: a finding or a tube that is left out is passed over in silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from voxmix.radiographs import identifiers
from voxmix.radiographs.finding_words import DENIED, absent_sentence, present_sentence
from voxmix.radiographs.identifiers import Span
from voxmix.radiographs.persons import FilmPlan, random
from voxmix.radiographs.planted import SENTENCES, Planted, named, planted_labels
from voxmix.radiographs.report_writer import Writer, capital, side_word
from voxmix.radiographs.tube_words import TUBE_NAMES, tube_sentence

MENTIONED, UNCERTAIN, NEGATED, LEFT_OUT, SILENT = "mentioned", "uncertain", "negated", "left out", "silent"
"""What a report does with a label: says it is there; says so with doubt; denies it; passes over what is there; passes
over what is not there."""

LUNGS = ("consolidation", "atelectasis", "edema", "nodule")
"""Findings that clear lungs rule out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """How complete reports are; shares from 0 to 1.

    Attributes:
        tubes_left_out: Of the reports of films with tubes, those that name none of them.
        findings_left_out: Of findings, those that a report passes over.
        negatives: Of findings that are not there, those that a report denies, at least; clear lungs deny more.
        doubt: Of findings that a report names, those it is not sure of.
        identifiers: Of the reports, those that hold made-up identifiers.
    """

    tubes_left_out: float = 0.5
    findings_left_out: float = 0.1
    negatives: float = 0.6
    doubt: float = 0.15
    identifiers: float = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A report, what it does with each label, and where identifiers stand in it."""

    text: str
    mentions: Mapping[str, str]
    identifiers: tuple[Span, ...]


_INDICATIONS = (
    "Shortness of breath.", "Cough and fever.", "Chest pain.", "Preoperative evaluation.", "Hypoxia.", "Follow-up.", "Fall.", "Dyspnea.",
    "Rule out pneumonia.", "Evaluate for pneumothorax.", "Evaluate for effusion.", "Altered mental status.", "Leukocytosis.", "Weakness.",
    "History of congestive heart failure.", "Post procedure.", "Smoker, cough.", "Sepsis.", "Line placement.", "Respiratory failure.",
)  # fmt: skip
_BONES = (
    "No acute bony abnormality.", "Osseous structures are intact.", "Degenerative changes of the spine.", "Bones are unremarkable.",
    "The visualized osseous structures are unremarkable.", "Old healed rib fracture.", "Mild scoliosis.",
)  # fmt: skip
_CLEAR = (
    "The lungs are clear.",
    "Lungs are clear bilaterally.",
    "Clear lungs.",
    "The lungs are clear and well expanded.",
    "Both lungs are clear.",
)
_HEART = (
    "Heart size is normal.", "The cardiomediastinal silhouette is within normal limits.", "Cardiac silhouette is normal in size.",
    "Normal heart size.", "The heart is not enlarged.", "Heart and mediastinum are normal.",
)  # fmt: skip
_NORMAL = (
    "No acute cardiopulmonary process.", "No acute cardiopulmonary abnormality.", "Normal chest.", "No acute disease.",
    "No acute cardiopulmonary disease.", "Unremarkable chest radiograph.", "No active disease.",
)  # fmt: skip
_NEUTRAL = ("As above.", "See findings.", "Findings as described.", "Clinical correlation is recommended.")
_GONE = (
    "Previously seen {} has resolved.",
    "Interval resolution of {}.",
    "{} is no longer seen.",
    "The previously noted {} is no longer present.",
)
_REMOVED = ("The {} has been removed.", "Interval removal of {}.", "{} is no longer present.")


def write_report(
    plan: FilmPlan, *, seed: int, rates: Rates, carina_mm: float | None, planted: Planted | None = None
) -> Report:
    """Return the report of a film. ``carina_mm`` is how far above the carina an endotracheal tube ends."""
    write = Writer(random(seed, "radiographs report", plan.number))
    mentions: dict[str, str] = {}
    there, before = plan.findings, plan.before
    tubes_named = not (plan.tubes and write.happens(rates.tubes_left_out))
    devices = _devices(write, plan, mentions, named=tubes_named, carina_mm=carina_mm)
    body: list[str] = []
    main: list[str] = []
    for name, finding in there.items():
        left_out, doubt = write.happens(rates.findings_left_out), write.happens(rates.doubt)
        if left_out:
            mentions[name] = LEFT_OUT
            continue
        mentions[name] = UNCERTAIN if doubt else MENTIONED
        was = None if before is None else name in before
        body.append(present_sentence(write, finding, was_there=was, doubt=doubt))
        if finding.side and name in ("effusion", "pneumothorax") and write.happens(0.12):
            body[-1] += f" No {side_word(-finding.side)} {write.pick(DENIED[name])}."
        if write.happens(0.75):
            main.append(present_sentence(write, finding, was_there=was, doubt=doubt))
    absent = [name for name in DENIED if name not in there]
    denied = [name for name in absent if write.happens(rates.negatives)]
    for name in absent:
        mentions[name] = NEGATED if name in denied else SILENT
    gone = [name for name in denied if before and name in before]
    body += [capital(write.pick(_GONE).format(DENIED[name][0])) for name in gone]
    rest = [name for name in denied if name not in gone]
    if "cardiomegaly" in rest and write.happens(0.85):
        rest.remove("cardiomegaly")
        body.append(write.pick(_HEART))
    clear = all(name in absent for name in LUNGS)
    if clear and all(name in denied for name in LUNGS[:1]) and write.happens(0.6):
        body.append(write.pick(_CLEAR))
        for name in LUNGS:
            mentions[name] = NEGATED
        rest = [name for name in rest if name not in LUNGS or write.happens(0.2)]
    rest = write.shuffled(rest)
    while rest:
        taken = int(write.rng.integers(1, 4))
        body.append(absent_sentence(write, rest[:taken]))
        rest = rest[taken:]
    if write.happens(0.5):
        body.append(write.pick(_BONES))
    body = write.shuffled(body)
    body = [*devices, *body] if write.happens(0.6) else [*body, *devices]
    said = named(plan, planted, seed=seed) if planted else ()
    for name, present in planted_labels(plan, planted, seed=seed).items() if planted else ():
        mentions[name] = MENTIONED if name in said else LEFT_OUT if present else SILENT
    text = _laid_out(
        write,
        plan,
        [*(SENTENCES[name] for name in said), *body],
        _impression(write, plan, main),
        rates,
    )
    plain, spans = identifiers.unmark(text)
    return Report(text=plain, mentions=mentions, identifiers=spans)


def _devices(
    write: Writer, plan: FilmPlan, mentions: dict[str, str], *, named: bool, carina_mm: float | None
) -> list[str]:
    sentences = []
    for name in TUBE_NAMES:
        if name in plan.tubes:
            mentions[name] = MENTIONED if named else LEFT_OUT
            if named:
                was = None if plan.before is None else name in plan.before
                sentences.append(tube_sentence(write, plan.tubes[name], carina_mm=carina_mm, was_there=was))
            continue
        mentions[name] = SILENT
        if named and plan.before and name in plan.before and write.happens(0.5):
            mentions[name] = NEGATED
            sentences.append(capital(write.pick(_REMOVED).format(TUBE_NAMES[name][0])))
    return sentences


def _impression(write: Writer, plan: FilmPlan, main: list[str]) -> list[str]:
    """Return what counts: a normal chest is called so only where nothing was found."""
    if main:
        return main
    return [write.pick(_NEUTRAL if plan.findings else _NORMAL)]


def _laid_out(write: Writer, plan: FilmPlan, body: list[str], main: list[str], rates: Rates) -> str:
    """Return the report's text with its sections, identifiers still marked."""
    rng = write.rng
    kinds: set[str] = set()
    if write.happens(rates.identifiers):
        kinds = set(write.shuffled(identifiers.KINDS)[: 1 + int(rng.integers(4))])
    head, tail = [], []
    if "name" in kinds and (in_head := write.happens(0.5)):
        head.append(f"{write.pick(['Patient', 'PATIENT NAME', 'Name', 'Pt'])}: {identifiers.name(rng)}")
    else:
        in_head = False
    if "record" in kinds:
        head.append(
            f"{write.pick(['MRN', 'Medical record number', 'MRN#', 'Patient ID'])}: {identifiers.record(rng)}"
        )
    if "accession" in kinds:
        head.append(
            f"{write.pick(['Accession', 'Accession number', 'Acc#', 'ACCESSION NO'])}: {identifiers.accession(rng)}"
        )
    compared = plan.before is not None
    old = (
        write.pick(["Prior radiograph.", "Previous chest radiograph.", "Prior study.", "Earlier film."])
        if compared
        else write.pick(["None.", "None available."])
    )
    if "date" in kinds:
        if compared and write.happens(0.7):
            old = write.pick(
                ["Chest radiograph of {}.", "{}.", "Compared to {}.", "Radiograph dated {}."]
            ).format(identifiers.date(rng))
        else:
            head.append(
                f"{write.pick(['Date', 'Exam date', 'DATE OF EXAM', 'Study date'])}: {identifiers.date(rng)}"
            )
    why = write.pick(_INDICATIONS)
    if "name" in kinds and not in_head:
        title = write.pick(["Mr.", "Ms.", "Mrs."])
        why = f"{title} {identifiers.family(rng)}, {int(rng.integers(22, 89))}-year-old, {why[0].lower()}{why[1:]}"
    if "physician" in kinds:
        tail.append(write.pick([
            "Findings discussed with {}.", "Referring physician: {}.", "These findings were communicated to {} at the time of dictation.",
            "Electronically signed by {}.", "Dictated by {}.",
        ]).format(identifiers.physician(rng)))  # fmt: skip
    if "phone" in kinds:
        tail.append(
            write.pick(
                [
                    "Call {} with questions.",
                    "Results called to the ward at {}.",
                    "Reading room: {}.",
                    "Contact: {}.",
                ]
            ).format(identifiers.phone(rng))
        )
    joined, concluded = " ".join(body), " ".join(main)
    if len(main) > 1 and write.happens(0.5):
        concluded = " ".join(f"{n}. {text}" for n, text in enumerate(main, 1))
    style = rng.random()
    exam = write.pick(
        ["Portable AP chest.", "AP chest radiograph.", "Chest, single portable view."]
        if plan.portable
        else ["PA chest.", "Chest radiograph, PA view.", "Chest, one view."]
    )
    if not joined:
        style = max(style, 0.9)
    if style < 0.45:
        parts = [
            f"INDICATION: {why}",
            f"COMPARISON: {old}",
            f"FINDINGS: {joined}",
            f"IMPRESSION: {concluded}",
        ]
        if write.happens(0.4):
            parts.insert(0, f"EXAM: {exam}")
        text = "\n".join([*head, *parts, *tail])
    elif style < 0.7:
        text = "\n".join(
            [
                *head,
                f"Indication: {why} Comparison: {old}",
                f"Findings: {joined}",
                f"Impression: {concluded}",
                *tail,
            ]
        )
    elif style < 0.88:
        text = " ".join(
            [
                *(f"{item}." for item in head),
                exam,
                f"History: {why}",
                f"Comparison: {old}",
                joined,
                f"Impression: {concluded}",
                *tail,
            ]
        )
    else:
        text = "\n".join(
            [*head, f"HISTORY: {why}", f"COMPARISON: {old}", f"REPORT: {joined} {concluded}".rstrip(), *tail]
        )
    return text
