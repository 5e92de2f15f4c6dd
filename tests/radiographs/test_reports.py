"""Reports say what is there, deny what is not, leave out at set rates, and their identifiers stand where they are said to."""

import csv
import json
import re
from pathlib import Path

import pytest

from voxmix.errors import InputError
from voxmix.radiographs import make_radiographs
from voxmix.radiographs.films import film_facts
from voxmix.radiographs.identifiers import KINDS, marked, unmark
from voxmix.radiographs.persons import FilmPlan, plan_film
from voxmix.radiographs.reports import (
    LEFT_OUT,
    MENTIONED,
    NEGATED,
    SILENT,
    UNCERTAIN,
    Rates,
    Report,
    write_report,
)
from voxmix.radiographs.writing import LABELS

COUNT = 900


def written(rates: Rates, *, count: int = COUNT, seed: int = 2) -> list[tuple[FilmPlan, Report]]:
    found = []
    for number in range(count):
        plan = plan_film(number, seed=seed)
        facts = film_facts(plan, seed=seed, edge=64)
        found.append((plan, write_report(plan, seed=seed, rates=rates, carina_mm=facts.carina_mm)))
    return found


@pytest.fixture(scope="module")
def reports() -> list[tuple[FilmPlan, Report]]:
    return written(Rates())


WORDS = {
    "effusion": r"effusions?|pleural fluid|costophrenic",
    "pneumothorax": r"pneumothorax|PTX",
    "consolidation": r"consolidation|airspace|infiltrate|focal opacity|lung opacities|lobe opacities",
    "atelectasis": r"atelectasis|collapse|volume loss",
    "edema": r"edema|congestion|fluid overload",
    "cardiomegaly": r"cardiomegaly|enlarge\w*|heart size is \w+ increased",
    "nodule": r"nodul\w*|mass\b|masslike",
    "endotracheal_tube": r"endotracheal|ET tube|ETT",
    "nasogastric_tube": r"nasogastric|NG tube|NGT|enteric|orogastric",
    "central_line": r"central venous|central line|CVC|PICC",
    "chest_tube": r"chest tube|pleural drain|thoracostomy",
    "pacemaker": r"pacemaker|pacer|cardiac device",
}
"""An independent reading: words of the field for each label."""

DENIAL = re.compile(
    r"^(no|there is no|negative|normal|clear|previously|the previously|interval resolution|interval removal)\b|\b(not enlarged|removed|no longer|resolved)\b",
    re.I,
)
DOUBT = re.compile(r"possible|may be|cannot be excluded|suspicious for|questionable|suspected|probable", re.I)


def read_label(text: str, label: str) -> set[str]:
    """Return what sentences say about a label; the indication asks, it does not say."""
    text = re.sub(r"(?:INDICATION|HISTORY|Indication|History): .*?(?=\n|COMPARISON|Comparison)", "", text)
    said = set()
    for sentence in re.split(r"(?<=[.;:])\s+", text):
        if re.search(rf"\b(?:{WORDS[label]})", sentence, re.I):
            if re.match(r"No (right|left)\b", sentence):
                continue  # the other side
            doubted = (
                DOUBT.search(sentence)
                and not sentence.startswith("No suspicious")
                and "no suspicious" not in sentence
            )
            said.add(NEGATED if DENIAL.search(sentence) else UNCERTAIN if doubted else MENTIONED)
    return said


def test_reports_say_what_their_truth_says(reports: list[tuple[FilmPlan, Report]]) -> None:
    for plan, report in reports:
        for label in LABELS:
            state, said = report.mentions[label], read_label(report.text, label)
            there = label in plan.findings or label in plan.tubes
            assert (state in (MENTIONED, UNCERTAIN, LEFT_OUT)) == there
            if state in (LEFT_OUT, SILENT):
                assert not said, (label, state, report.text)
            elif state == NEGATED:
                assert said <= {NEGATED}, (label, report.text)
            else:
                assert said == {state}, (label, state, report.text)


def test_no_report_denies_what_is_there(reports: list[tuple[FilmPlan, Report]]) -> None:
    for plan, report in reports:
        for label in (*plan.findings, *plan.tubes):
            assert NEGATED not in read_label(report.text, label), report.text
        lungs = {"consolidation", "atelectasis", "edema", "nodule"} & set(plan.findings)
        assert not (lungs and re.search(r"lungs? (are|is) clear|clear lungs", report.text, re.I))
        assert not (
            "cardiomegaly" in plan.findings
            and re.search(
                r"heart size is normal|normal heart|normal in size|silhouette is within", report.text, re.I
            )
        )
        assert not (
            plan.findings
            and re.search(r"normal chest|no acute|no active|unremarkable chest", report.text, re.I)
            and "bony" not in report.text
        )


def test_tubes_are_left_out_of_half_of_the_reports_and_findings_at_their_rate(
    reports: list[tuple[FilmPlan, Report]],
) -> None:
    tubed = [[r.mentions[name] for name in p.tubes] for p, r in reports if p.tubes]
    assert all(len(set(states)) == 1 for states in tubed)
    assert sum(states[0] == LEFT_OUT for states in tubed) / len(tubed) == pytest.approx(0.5, abs=0.06)
    states = [r.mentions[name] for p, r in reports for name in p.findings]
    assert states.count(LEFT_OUT) / len(states) == pytest.approx(0.1, abs=0.03)
    named = len(states) - states.count(LEFT_OUT)
    assert states.count(UNCERTAIN) / named == pytest.approx(0.15, abs=0.03)
    denied = [
        r.mentions[n] == NEGATED
        for p, r in reports
        for n in ("effusion", "pneumothorax")
        if n not in p.findings
    ]
    assert sum(denied) / len(denied) == pytest.approx(0.6, abs=0.04)
    with_any = [bool(r.identifiers) for _, r in reports]
    assert sum(with_any) / len(with_any) == pytest.approx(0.3, abs=0.05)


def test_rates_go_to_their_ends() -> None:
    for plan, report in written(
        Rates(tubes_left_out=0, findings_left_out=0, doubt=0, negatives=0, identifiers=0), count=200
    ):
        for label in (*plan.findings, *plan.tubes):
            assert report.mentions[label] == MENTIONED
        assert not report.identifiers
    for plan, report in written(Rates(tubes_left_out=1, findings_left_out=1, identifiers=1), count=200):
        for label in (*plan.findings, *plan.tubes):
            assert report.mentions[label] == LEFT_OUT
        assert report.identifiers


FORMS = {
    "name": r"[A-Z][A-Za-z'\-]+(,? [A-Z][A-Za-z'\-]*\.?)*",
    "physician": r"[A-Z][A-Za-z'\-]*\.?( [A-Z][A-Za-z'\-]+)?",
    "date": r"\d{1,2}/\d{1,2}/(\d\d|\d{4})|\d{4}-\d\d-\d\d|[A-Z][a-z]+ \d{1,2}, \d{4}|\d{1,2} [A-Z][a-z]{2} \d{4}|\d\d\.\d\d\.\d{4}",
    "accession": r"A?\d{7}|CR-\d{7}|XR\d\d-\d{5}",
    "record": r"\d{6,9}|\d{3}-\d{6}",
    "phone": r"(\(\d{3}\) |\d{3}[-.])?555[-.]01\d\d",
}


def test_spans_hit_the_identifiers_exactly(reports: list[tuple[FilmPlan, Report]]) -> None:
    seen = dict.fromkeys(KINDS, 0)
    for _, report in reports:
        covered = list(report.text)
        for span in report.identifiers:
            assert re.fullmatch(FORMS[span.kind], report.text[span.start : span.end]), report.text[
                span.start : span.end
            ]
            assert not report.text[span.start - 1].isalnum()
            assert span.end == len(report.text) or not report.text[span.end].isalnum()
            seen[span.kind] += 1
            covered[span.start : span.end] = "_" * (span.end - span.start)
        rest = "".join(covered)
        assert not re.search(r"\d{4}|\d/\d|Dr\. [A-Z]|M[rs]+\. [A-Z]|[\x00-\x08]", rest), rest
    assert min(seen.values()) > 12


def test_marks_come_off() -> None:
    text, spans = unmark(f"On {marked('date', '1/2/2020')}, {marked('name', 'Long')}.")
    assert text == "On 1/2/2020, Long."
    assert [(s.kind, text[s.start : s.end]) for s in spans] == [("date", "1/2/2020"), ("name", "Long")]


def test_reports_vary(reports: list[tuple[FilmPlan, Report]]) -> None:
    texts = [report.text for _, report in reports]
    assert len(set(texts)) > 0.97 * len(texts)
    everything = "\n".join(texts).lower()
    for word in (
        "findings:", "impression:", "indication:", "unchanged", "resolved", "cannot be excluded", "right lower lobe", "left", "bilateral",
        "cm above the carina", "no evidence of", "rll", "ett", "picc", "has been removed",
    ):  # fmt: skip
        assert word in everything


def test_the_table_holds_labels_in_full_and_no_file_name_names_anyone(tmp_path: Path) -> None:
    make_radiographs(tmp_path, count=30, seed=4, edge=32, rates=Rates(identifiers=1.0))
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))["films"]
    with (tmp_path / "films.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["image", "person", "domain", "view", "report", *LABELS, "masks"]
    assert len({row["image"] for row in rows}) == 30
    for row, film in zip(rows, truth, strict=True):
        assert row["image"] == film["image"]
        assert row["masks"] == (film["maps"] if film["findings"] or film["tubes"] else "")
        for label in LABELS:
            assert row[label] == str(int(label in film["findings"] or label in film["tubes"]))
        for span in film["identifiers"]:
            word = row["report"][span["start"] : span["end"]]
            assert word
            assert word not in row["image"]
            assert word not in row["person"]
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    assert all(
        re.fullmatch(r"(films|maps)/\d{6}\.(png|npz)|films\.csv|truth\.json|settings\.json", name)
        for name in names
    )


def test_a_rate_beyond_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tubes_left_out must be a share from 0 to 1, got 2"):
        make_radiographs(tmp_path, count=1, seed=0, rates=Rates(tubes_left_out=2))
