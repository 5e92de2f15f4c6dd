"""Sentences on findings: that one is there, with its side, place and size; that several are not."""

from collections.abc import Sequence

from voxmix.radiographs.findings import Finding
from voxmix.radiographs.report_writer import Writer, article, capital, graded, side_word

_LOBES = {"upper": "upper lobe", "middle": "mid lung", "lower": "lower lobe"}
_ZONES = {"upper": "upper zone", "middle": "midzone", "lower": "base"}


def _noun(write: Writer, finding: Finding) -> tuple[str, str]:
    """Return (what is seen, with size and side, its number: ``one``, ``many`` or ``mass``)."""
    side, size, pick = side_word(finding.side), finding.size, write.pick
    if finding.name == "effusion":
        amount = graded(size, ("trace", "small", "moderate", "large"))
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
        amount = graded(size, ("tiny", "small", "moderate", "large"))
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
        grade = graded(size, ("mild", "moderate", "severe"))
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
        grade = graded(size, ("mild", "moderate", "marked"))
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


def present_sentence(write: Writer, finding: Finding, *, was_there: bool | None, doubt: bool) -> str:
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
    subject = article(noun) if number == "one" else noun
    if doubt:
        return capital(write.pick([
            f"possible {noun}.", f"there may be {subject}.", f"{subject} cannot be excluded.", f"findings suspicious for {noun}.",
            f"questionable {noun}.", f"{noun} {verb} suspected.", f"probable {noun}.",
        ]))  # fmt: skip
    options = [
        f"there {verb} {subject}.", f"{noun}.", f"{subject} {verb} {write.pick(['seen', 'noted', 'present', 'identified', 'demonstrated'])}.",
        f"{noun} {verb} again seen." if was_there and not noun.startswith(("unch", "stab", "pers", "simi")) else f"{noun}.",
    ]  # fmt: skip
    if finding.name == "cardiomegaly":
        grade = graded(finding.size, ("mildly", "moderately", "markedly"))
        options += [
            f"the heart is {grade} enlarged.",
            f"the cardiac silhouette is {grade} enlarged.",
            f"heart size is {grade} increased.",
        ] * 2
    return capital(write.pick(options))


DENIED: dict[str, tuple[str, ...]] = {
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


def absent_sentence(write: Writer, names: Sequence[str]) -> str:
    """Return a sentence that denies these findings."""
    words = [write.pick(DENIED[name]) for name in names]
    if len(words) == 1:
        listed = words[0]
    else:
        comma = "," if len(words) > 2 and write.happens(0.5) else ""
        listed = ", ".join(words[:-1]) + f"{comma} or {words[-1]}"
    return write.pick([
        f"No {listed}.", f"There is no {listed}.", f"No evidence of {listed}.", f"No {listed} is seen.", f"There is no evidence of {listed}.",
        f"Negative for {listed}.", f"No radiographic evidence of {listed}.",
    ])  # fmt: skip
