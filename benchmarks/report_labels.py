"""How well rules label reports: Open-i's reports against the codes that people gave them, and made reports against their truth.

Open-i's reports are split by a digest of their id: 40% on which the rules and the table of codes below were settled (--side tune),
40% that judge them (--side judge), and 20% that nobody has looked at. No text is printed.

    python benchmarks/report_labels.py --real FOLDER [--side judge] [--made 2000]
"""

import argparse
import csv
import gzip
import hashlib
import re
from pathlib import Path
from time import perf_counter

from voxmix.radiographs.films import film_facts
from voxmix.radiographs.persons import plan_film
from voxmix.radiographs.reports import MENTIONED, NEGATED, UNCERTAIN, Rates, write_report
from voxmix.texts.labels import DEFAULT_RULES, LabelCheck, Rules, check_labels, label_report, label_reports

CODES = {
    "atelectasis": "Pulmonary Atelectasis|Atelectasis",
    "cardiomegaly": "Cardiomegaly|Cardiac Shadow/enlarged",
    "consolidation": "Consolidation|Airspace Disease|Infiltrate",
    "edema": "Pulmonary Edema|Pulmonary Congestion",
    "effusion": "Pleural Effusion|Costophrenic Angle/.*blunted",
    "emphysema": "Emphysema|Pulmonary Emphysema|Pulmonary Disease, Chronic Obstructive|Blister",
    "fracture": "Fractures, Bone",
    "granuloma": "Calcified Granuloma|Granuloma|Granulomatous Disease",
    "hiatal_hernia": "Hernia, Hiatal",
    "hyperinflation": "Lung/(.*/)?hyperdistention|Diaphragm/(.*/)?flattened|Lung, Hyperlucent",
    "interstitial": "(?!Pulmonary Edema|Pulmonary Congestion)[^/]*/(.*/)?(interstitial|reticular)|Lung Diseases, Interstitial",
    "low_volumes": "Lung/(.*/)?hypoinflation",
    "nodule": "Nodule|Mass|(Opacity|Density)/(.*/)?round",
    "opacity": "Opacity|Density/(.*/)?lung",
    "pleural_thickening": "Thickening/(.*/)?pleura",
    "pneumonia": "Pneumonia",
    "pneumothorax": "Pneumothorax|Hydropneumothorax",
    "raised_diaphragm": "Diaphragm/(.*/)?elevated|Diaphragmatic Eventration",
    "scar": "Cicatrix|Pulmonary Fibrosis|Fibrosis",
    "degenerative_spine": "(Spine|(Thoracic|Lumbar|Cervical) Vertebrae)/(.*/)?degenerative|Spondylosis|Osteophyte",
    "scoliosis": "Scoliosis|Kyphoscoliosis",
    "osteopenia": "Bone Diseases, Metabolic|Osteoporosis",
    "tortuous_aorta": "Aorta(, Thoracic)?/(.*/)?tortuous",
    "atherosclerosis": "Atherosclerosis|Calcinosis/(.*/)?(aorta|blood vessels)",
}
"""Label to the start of the codes that say so; the rules' other labels have no code, or too rare a one."""

PLAIN = {
    "effusion": "Pleural Effusion",
    "nodule": "Nodule|Mass",
    "interstitial": "Markings/(.*/)?interstitial|Lung Diseases, Interstitial",
}
"""Narrower codes of three labels: how much of the figure hangs on the table above."""

MIN_SUPPORT = 10


def side(report_id: str) -> str:
    """Return the side of the split that a report is on."""
    share = int(hashlib.sha256(report_id.encode()).hexdigest()[:8], 16) % 100
    return "tune" if share < 40 else "judge" if share < 80 else "aside"


def coded(codes: str, table: dict[str, str]) -> dict[str, int]:
    """Return label to 1 or 0 by the codes of a report."""
    given = [code.strip() for code in codes.split(";")]
    return {
        name: int(any(re.match(rf"(?:{pattern})(?:/|$)", code) for code in given))
        for name, pattern in table.items()
    }


def open_i(folder: Path, wanted: str) -> tuple[list[str], list[str]]:
    """Return texts and codes of the reports of a side; those that were not coded are left out."""
    with gzip.open(folder / "openi_reports/reports.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if side(row["id"]) == wanted]
    rows = [row for row in rows if "No Indexing" not in row["mesh_major"]]
    texts = [
        f"INDICATION: {row['indication']}\nFINDINGS: {row['findings']}\nIMPRESSION: {row['impression']}"
        for row in rows
    ]
    return texts, [row["mesh_major"] for row in rows]


def judged(
    texts: list[str],
    codes: list[str],
    table: dict[str, str],
    *,
    rules: Rules = DEFAULT_RULES,
    uncertain: int | None = None,
) -> LabelCheck:
    """Return the scores of the rules on coded reports."""
    found = [labels.values for labels in label_reports(texts, rules=rules, uncertain=uncertain)]
    return check_labels(found, [coded(code, table) for code in codes], min_support=MIN_SUPPORT)


def show_real(folder: Path, wanted: str) -> None:
    """Print the table of Open-i's reports."""
    texts, codes = open_i(folder, wanted)
    begun = perf_counter()
    check = judged(texts, codes, CODES)
    took = perf_counter() - begun
    print(
        f"Open-i, side {wanted}: {check.reports} coded reports; {1e3 * took / check.reports:.1f} ms a report"
    )
    print("label                support  found  precision  recall     F1")
    for score in sorted(check.scores, key=lambda score: -score.support):
        few = "  too few, not in the mean" if score.label in check.left_out else ""
        print(
            f"{score.label:20} {score.support:7} {score.found:6} {score.precision:10.3f} {score.recall:7.3f} {score.f1:6.3f}{few}"
        )
    counted = len(check.scores) - len(check.left_out)
    print(f"macro F1 over {counted} labels {check.macro_f1:.3f}, micro F1 {check.micro_f1:.3f}")
    as_present = judged(texts, codes, CODES, uncertain=1)
    print(f"uncertain counted as present: macro F1 {as_present.macro_f1:.3f}")
    bare = Rules(labels=DEFAULT_RULES.labels, cues={})
    print(f"without denials and doubts: macro F1 {judged(texts, codes, CODES, rules=bare).macro_f1:.3f}")
    plain = judged(texts, codes, CODES | PLAIN)
    rows = ", ".join(f"{s.label} {s.f1:.3f}" for s in plain.scores if s.label in PLAIN)
    print(f"narrower codes of three labels: {rows}; macro F1 {plain.macro_f1:.3f}")


def show_made(count: int, seed: int) -> None:
    """Print how made reports fare, whose truth is known for denials and doubts too."""
    said = {MENTIONED: "present", UNCERTAIN: "uncertain", NEGATED: "absent"}
    right: dict[str, list[bool]] = {"present": [], "uncertain": [], "absent": [], "": []}
    for number in range(count):
        plan = plan_film(number, seed=seed)
        facts = film_facts(plan, seed=seed, edge=32)
        report = write_report(plan, seed=seed, rates=Rates(), carina_mm=facts.carina_mm)
        decided = label_report(report.text).decided
        for name, what in report.mentions.items():
            got = decided[name].said if name in decided else ""
            right[said.get(what, "")].append(got == said.get(what, ""))
    for what, hits in right.items():
        print(f"made reports, {what or 'not named':10} {sum(hits):6} of {len(hits):6} read so")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder with openi_reports")
    parser.add_argument("--side", choices=("tune", "judge"), default="judge")
    parser.add_argument("--made", type=int, default=2000, help="made reports; 0 for none")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    if given.real:
        show_real(given.real, given.side)
    if given.made:
        show_made(given.made, given.seed)


if __name__ == "__main__":
    main()
