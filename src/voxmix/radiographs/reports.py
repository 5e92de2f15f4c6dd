"""What a radiologist writes about a film: sections, synonyms, sides, negations, doubts, comparisons, and what is left out.

A report never denies what is there: a finding or a tube that is left out is passed over in silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxmix.radiographs import identifiers
from voxmix.radiographs.body import LEFT, RIGHT
from voxmix.radiographs.findings import Finding
from voxmix.radiographs.identifiers import Span
from voxmix.radiographs.persons import FilmPlan, random
from voxmix.radiographs.tubes import Tube

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


class _Writer:
    """Chooses words; every choice uses up the report's generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def pick(self, words: Sequence[str]) -> str:
        return words[int(self.rng.integers(len(words)))]

    def happens(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def shuffled(self, items: Sequence[str]) -> list[str]:
        return [items[k] for k in self.rng.permutation(len(items))]


def _capital(text: str) -> str:
    at = next((k for k, c in enumerate(text) if c.isalpha()), 0)
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def _article(text: str) -> str:
    return ("an " if text[0] in "aeiouAEIOU8" else "a ") + text


def _side(side: int) -> str:
    return {RIGHT: "right", LEFT: "left", 0: "bilateral"}[side]


def _graded(size: float, words: Sequence[str]) -> str:
    return words[min(int(size * len(words)), len(words) - 1)]


_LOBES = {"upper": "upper lobe", "middle": "mid lung", "lower": "lower lobe"}
_ZONES = {"upper": "upper zone", "middle": "midzone", "lower": "base"}


def _noun(write: _Writer, finding: Finding) -> tuple[str, str]:
    """Return (what is seen, with size and side, its number: ``one``, ``many`` or ``mass``)."""
    side, size, pick = _side(finding.side), finding.size, write.pick
    if finding.name == "effusion":
        amount = _graded(size, ("trace", "small", "moderate", "large"))
        if finding.side == 0:
            return pick(
                [
                    f"{amount} bilateral pleural effusions",
                    f"bilateral {amount} pleural effusions",
                    f"{amount} bilateral effusions",
                ]
            ), "many"
        if size < 0.25 and write.happens(0.35):
            return (
                f"{pick(['blunting', 'obliteration'])} of the {side} costophrenic {pick(['angle', 'sulcus'])}",
                "mass",
            )
        if write.happens(0.2):
            return f"{amount} amount of {side} pleural fluid", "one"
        return (
            f"{amount} {side} {pick(['pleural effusion', 'pleural effusion', 'effusion', 'pleural fluid collection'])}",
            "one",
        )
    if finding.name == "pneumothorax":
        amount = _graded(size, ("tiny", "small", "moderate", "large"))
        return pick(
            [
                f"{amount} {side} pneumothorax",
                f"{amount} {side} apical pneumothorax",
                f"{amount} {side}-sided pneumothorax",
                f"{amount} {side} PTX",
            ]
        ), "one"
    if finding.name == "consolidation":
        where = _LOBES[finding.place] if finding.side else f"{finding.place} lung"
        short = {"upper": "UL", "middle": "ML", "lower": "LL"}[finding.place]
        options = [
            f"{side} {where} consolidation", f"{side} {where} airspace opacity", f"{side} {where} airspace disease",
            f"focal opacity in the {side} {where}" if finding.side else f"{side} {where} opacities", f"{side} {where} infiltrate",
        ]  # fmt: skip
        if finding.side and finding.place != "middle":
            options.append(f"{side[0].upper()}{short} consolidation")
        text = pick(options)
        return text, "many" if text.endswith(
            "opacities"
        ) else "one" if "opacity" in text or "infiltrate" in text else "mass"
    if finding.name == "atelectasis":
        if finding.place == "plate":
            where = "bibasilar" if finding.side == 0 else f"{side} basilar"
            return pick(
                [
                    f"{where} atelectasis",
                    f"linear {where} atelectasis",
                    f"{where} platelike atelectasis",
                    f"{where} subsegmental atelectasis",
                    f"discoid {where} atelectasis",
                ]
            ), "mass"
        lobe = _LOBES[finding.place]
        return pick(
            [f"{side} {lobe} atelectasis", f"{side} {lobe} collapse", f"{side} {lobe} volume loss"]
        ), "mass"
    if finding.name == "edema":
        grade = _graded(size, ("mild", "moderate", "severe"))
        return pick(
            [
                f"{grade} pulmonary edema",
                f"{grade} interstitial edema",
                f"{grade} pulmonary vascular congestion with edema",
                f"{grade} perihilar edema",
                f"{grade} fluid overload",
            ]
        ), "mass"
    if finding.name == "cardiomegaly":
        grade = _graded(size, ("mild", "moderate", "marked"))
        return pick(
            [
                f"{grade} cardiomegaly",
                f"{grade} enlargement of the cardiac silhouette",
                f"{grade} cardiac enlargement",
            ]
        ), "mass"
    zone, kind = finding.place.split()
    mm = 2 * ((17 + 13 * size) if kind == "mass" else (6.5 + 6 * size))
    big = f"{mm / 10:.1f} cm" if kind == "mass" or write.happens(0.3) else f"{mm:.0f} mm"
    what = pick(
        ["mass", "masslike opacity", "rounded mass"]
        if kind == "mass"
        else ["nodule", "pulmonary nodule", "nodular opacity", "rounded nodule"]
    )
    return pick(
        [
            f"{big} {what} in the {side} {_ZONES[zone]}",
            f"{big} {side} {_LOBES[zone]} {what}",
            f"{side} {_LOBES[zone]} {what} measuring {big}",
        ]
    ), "one"


def _present(write: _Writer, finding: Finding, *, was_there: bool | None, doubt: bool) -> str:
    """Return a sentence that says a finding is there, or may be."""
    noun, number = _noun(write, finding)
    if was_there is not None and write.happens(0.7):
        word = write.pick(
            ["unchanged", "stable", "persistent", "similar"]
            if was_there
            else ["new", "newly seen", "interval"]
        )
        noun = f"{word} {noun}"
    verb = "are" if number == "many" else "is"
    subject = _article(noun) if number == "one" else noun
    if doubt:
        return _capital(write.pick([
            f"possible {noun}.", f"there may be {subject}.", f"{subject} cannot be excluded.", f"findings suspicious for {noun}.",
            f"questionable {noun}.", f"{noun} {verb} suspected.", f"probable {noun}.",
        ]))  # fmt: skip
    options = [
        f"there {verb} {subject}.", f"{noun}.", f"{subject} {verb} {write.pick(['seen', 'noted', 'present', 'identified', 'demonstrated'])}.",
        f"{noun} {verb} again seen." if was_there and not noun.startswith(("unch", "stab", "pers", "simi")) else f"{noun}.",
    ]  # fmt: skip
    if finding.name == "cardiomegaly":
        grade = _graded(finding.size, ("mildly", "moderately", "markedly"))
        options += [
            f"the heart is {grade} enlarged.",
            f"the cardiac silhouette is {grade} enlarged.",
            f"heart size is {grade} increased.",
        ] * 2
    return _capital(write.pick(options))


_DENIED: dict[str, tuple[str, ...]] = {
    "effusion": ("pleural effusion", "effusion", "pleural fluid"),
    "pneumothorax": ("pneumothorax", "PTX"),
    "consolidation": (
        "focal consolidation",
        "consolidation",
        "airspace disease",
        "focal infiltrate",
        "airspace opacity",
    ),
    "atelectasis": ("atelectasis", "volume loss"),
    "edema": ("pulmonary edema", "edema", "vascular congestion"),
    "cardiomegaly": ("cardiomegaly", "cardiac enlargement"),
    "nodule": ("suspicious nodule", "pulmonary nodule or mass", "nodule"),
}
"""Words for what is not there."""


def _absent(write: _Writer, names: Sequence[str]) -> str:
    """Return a sentence that denies these findings."""
    words = [write.pick(_DENIED[name]) for name in names]
    if len(words) == 1:
        listed = words[0]
    else:
        comma = "," if len(words) > 2 and write.happens(0.5) else ""
        listed = ", ".join(words[:-1]) + f"{comma} or {words[-1]}"
    return write.pick([
        f"No {listed}.", f"There is no {listed}.", f"No evidence of {listed}.", f"No {listed} is seen.", f"There is no evidence of {listed}.",
        f"Negative for {listed}.", f"No radiographic evidence of {listed}.",
    ])  # fmt: skip


_TUBE_NAMES: dict[str, tuple[str, ...]] = {
    "endotracheal_tube": ("endotracheal tube", "ET tube", "ETT"),
    "nasogastric_tube": ("nasogastric tube", "NG tube", "enteric tube", "NGT", "orogastric tube"),
    "central_line": ("central venous catheter", "central line", "CVC"),
    "chest_tube": ("chest tube", "pleural drain", "thoracostomy tube"),
    "pacemaker": ("pacemaker", "dual-lead pacemaker", "cardiac device", "pacer"),
}


def _tube_sentence(write: _Writer, tube: Tube, *, carina_mm: float | None, was_there: bool | None) -> str:
    """Return a sentence on a tube and its tip."""
    pick = write.pick
    what = pick(_TUBE_NAMES[tube.name])
    ends = pick(["terminates", "ends", "projects"])
    if tube.name == "endotracheal_tube" and carina_mm is not None:
        cm = f"{abs(carina_mm) / 10:.1f} cm"
        if tube.position == "right main bronchus":
            body = pick(
                [
                    f"{what} tip in the right mainstem bronchus; recommend withdrawal",
                    f"{what} {ends} in the right main bronchus, about {cm} below the carina",
                ]
            )
        else:
            body = pick(
                [
                    f"{what} tip is {cm} above the carina",
                    f"{what} {ends} {cm} above the carina",
                    f"the tip of the {what} lies {cm} from the carina",
                ]
            )
            if tube.misplaced:
                body += pick(
                    [", low; consider withdrawal", ", which is low"]
                    if tube.position == "low"
                    else [", high; consider advancing", ", which is high"]
                )
    elif tube.name == "nasogastric_tube":
        body = {
            "stomach": pick(
                [
                    f"{what} {ends} in the stomach",
                    f"{what} courses below the diaphragm",
                    f"{what} tip projects over the stomach",
                ]
            ),
            "esophagus": pick(
                [
                    f"{what} tip in the distal esophagus; advance",
                    f"{what} {ends} above the diaphragm in the esophagus",
                ]
            ),
            "coiled": f"{what} is coiled in the {pick(['esophagus', 'upper esophagus'])}",
            "right lower lobe": pick(
                [
                    f"{what} malpositioned in the right lower lobe bronchus; remove",
                    f"{what} follows the right bronchus into the right lower lobe",
                ]
            ),
        }[tube.position]
    elif tube.name == "central_line":
        way = (
            "PICC"
            if tube.way == "right arm" and write.happens(0.7)
            else f"{tube.way.replace('jugular', pick(['internal jugular', 'IJ']))} {what}"
        )
        if tube.way == "right arm":
            way = way.replace("right arm", "right upper extremity") if "PICC" not in way else "right PICC"
        spot = {
            "superior vena cava": pick(["SVC", "superior vena cava", "mid SVC", "cavoatrial junction"]), "right atrium": "right atrium",
            "brachiocephalic vein": pick(["brachiocephalic vein", "innominate vein"]), "jugular vein": f"{pick(['right', 'ipsilateral'])} internal jugular vein",
        }[tube.position]  # fmt: skip
        if tube.position == "jugular vein" and tube.way.startswith("left"):
            spot = "right internal jugular vein"
        body = pick(
            [f"{way} tip in the {spot}", f"{way} {ends} in the {spot}", f"{way} with tip at the {spot}"]
        )
    elif tube.name == "chest_tube":
        spot = {
            "apex": pick(["directed to the apex", "with tip at the apex"]), "base": pick(["with tip at the base", "directed to the base"]),
            "side hole outside": pick(["with its side hole outside of the pleural space", "that has pulled back, side port projecting over the chest wall"]),
        }[tube.position]  # fmt: skip
        body = f"{tube.way} {what} {spot}"
    else:
        spot = (
            pick(["in the right ventricle", "in expected position"])
            if not tube.misplaced
            else pick(["displaced into the right atrium", "retracted from the right ventricle"])
        )
        body = f"{tube.way} chest wall {what}, lead {spot}"
    if was_there is not None and write.happens(0.4):
        body += ", unchanged" if was_there else ", new"
    return _capital(body) + "."


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


def write_report(plan: FilmPlan, *, seed: int, rates: Rates, carina_mm: float | None) -> Report:
    """Return the report of a film. ``carina_mm`` is how far above the carina an endotracheal tube ends."""
    write = _Writer(random(seed, "radiographs report", plan.number))
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
        body.append(_present(write, finding, was_there=was, doubt=doubt))
        if finding.side and name in ("effusion", "pneumothorax") and write.happens(0.12):
            body[-1] += f" No {_side(-finding.side)} {write.pick(_DENIED[name])}."
        if write.happens(0.75):
            main.append(_present(write, finding, was_there=was, doubt=doubt))
    absent = [name for name in _DENIED if name not in there]
    denied = [name for name in absent if write.happens(rates.negatives)]
    for name in absent:
        mentions[name] = NEGATED if name in denied else SILENT
    gone = [name for name in denied if before and name in before]
    body += [_capital(write.pick(_GONE).format(_DENIED[name][0])) for name in gone]
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
        body.append(_absent(write, rest[:taken]))
        rest = rest[taken:]
    if write.happens(0.5):
        body.append(write.pick(_BONES))
    body = write.shuffled(body)
    text = _laid_out(
        write,
        plan,
        [*devices, *body] if write.happens(0.6) else [*body, *devices],
        _impression(write, plan, main),
        rates,
    )
    plain, spans = identifiers.unmark(text)
    return Report(text=plain, mentions=mentions, identifiers=spans)


def _devices(
    write: _Writer, plan: FilmPlan, mentions: dict[str, str], *, named: bool, carina_mm: float | None
) -> list[str]:
    sentences = []
    for name in _TUBE_NAMES:
        if name in plan.tubes:
            mentions[name] = MENTIONED if named else LEFT_OUT
            if named:
                was = None if plan.before is None else name in plan.before
                sentences.append(_tube_sentence(write, plan.tubes[name], carina_mm=carina_mm, was_there=was))
            continue
        mentions[name] = SILENT
        if named and plan.before and name in plan.before and write.happens(0.5):
            mentions[name] = NEGATED
            sentences.append(_capital(write.pick(_REMOVED).format(_TUBE_NAMES[name][0])))
    return sentences


def _impression(write: _Writer, plan: FilmPlan, main: list[str]) -> list[str]:
    """Return what counts: a normal chest is called so only where nothing was found."""
    if main:
        return main
    return [write.pick(_NEUTRAL if plan.findings else _NORMAL)]


def _laid_out(write: _Writer, plan: FilmPlan, body: list[str], main: list[str], rates: Rates) -> str:
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
