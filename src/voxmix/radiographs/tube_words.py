"""Sentences on tubes and lines: which one, where its tip lies, whether it lies well."""

from voxmix.radiographs.report_writer import Writer, capital
from voxmix.radiographs.tubes import Tube

TUBE_NAMES: dict[str, tuple[str, ...]] = {
    "endotracheal_tube": ("endotracheal tube", "ET tube", "ETT"),
    "nasogastric_tube": ("nasogastric tube", "NG tube", "enteric tube", "NGT", "orogastric tube"),
    "central_line": ("central venous catheter", "central line", "CVC"),
    "chest_tube": ("chest tube", "pleural drain", "thoracostomy tube"),
    "pacemaker": ("pacemaker", "dual-lead pacemaker", "cardiac device", "pacer"),
}


def tube_sentence(write: Writer, tube: Tube, *, carina_mm: float | None, was_there: bool | None) -> str:
    """Return a sentence on a tube and its tip."""
    pick = write.pick
    what = pick(TUBE_NAMES[tube.name])
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
    return capital(body) + "."
