"""Labels of reports by rules: what is there, denied, in doubt; on which side; by which words; and how well on known labels."""

import math
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from time import perf_counter

import pytest

from voxmix.errors import InputError
from voxmix.radiographs.films import film_facts
from voxmix.radiographs.persons import plan_film
from voxmix.radiographs.reports import LEFT_OUT, MENTIONED, NEGATED, SILENT, UNCERTAIN, Rates, write_report
from voxmix.texts.labels import DEFAULT_RULES, LabelRule, Rules, check_labels, label_report, label_reports
from voxmix.texts.labels.sentences import sentences

SENTENCES = [
    ("Small left pleural effusion.", {"effusion": "present"}),
    ("No pleural effusion or pneumothorax.", {"effusion": "absent", "pneumothorax": "absent"}),
    ("No focal consolidation, pleural effusion, or\npneumothorax is seen.", {"consolidation": "absent", "pneumothorax": "absent"}),
    ("Negative for edema.", {"edema": "absent"}),
    ("Lungs are free of consolidation.", {"consolidation": "absent"}),
    ("The effusion has resolved.", {"effusion": "absent"}),
    ("Pneumothorax is no longer seen.", {"pneumothorax": "absent"}),
    ("Interval resolution of the edema.", {"edema": "absent"}),
    ("Effusion and pneumothorax are not identified.", {"effusion": "absent", "pneumothorax": "absent"}),
    ("The heart is enlarged without edema.", {"cardiomegaly": "present", "edema": "absent"}),
    ("The heart is not enlarged.", {"cardiomegaly": "absent"}),
    ("Heart size is normal.", {"cardiomegaly": "absent"}),
    ("The lungs are clear.", {"consolidation": "absent", "atelectasis": "absent", "nodule": "absent"}),
    ("The lungs are not clear.", {"consolidation": None}),
    ("No effusion, but there is atelectasis.", {"effusion": "absent", "atelectasis": "present"}),
    ("No pneumothorax; however, there is a fracture.", {"pneumothorax": "absent", "fracture": "present"}),
    ("No abnormality other than mild scoliosis.", {"scoliosis": "present"}),
    ("No effusion. Cardiomegaly.", {"effusion": "absent", "cardiomegaly": "present"}),
    ("1. No effusion\n2. Cardiomegaly", {"effusion": "absent", "cardiomegaly": "present"}),
    ("No change in the right effusion.", {"effusion": "present"}),
    ("Stable cardiomegaly, unchanged.", {"cardiomegaly": "present"}),
    ("Possible pneumonia.", {"pneumonia": "uncertain"}),
    ("Opacity may represent pneumonia.", {"opacity": "present", "pneumonia": "uncertain"}),
    ("Cannot exclude a small effusion.", {"effusion": "uncertain"}),
    ("A small effusion cannot be excluded.", {"effusion": "uncertain"}),
    ("Findings suspicious for edema.", {"edema": "uncertain"}),
    ("Atelectasis versus pneumonia.", {"atelectasis": "uncertain", "pneumonia": "uncertain"}),
    ("No definite effusion.", {"effusion": "absent"}),
    ("History of pneumonia.", {"pneumonia": None}),
    ("Pericardial effusion.", {"effusion": None}),
    ("Subcutaneous emphysema.", {"emphysema": None, "subcutaneous_emphysema": "present"}),
    ("Calcified granuloma.", {"granuloma": "present", "nodule": None}),
    ("ET tube tip 3.5 cm above the carina. NG tube in the stomach.", {"endotracheal_tube": "present", "nasogastric_tube": "present"}),
    ("The endotracheal tube has been removed.", {"endotracheal_tube": "absent"}),
    ("Right PICC tip in the SVC.", {"picc": "present", "central_line": "present", "port": None}),
    ("Interval removal of the chest tube.", {"chest_tube": "absent"}),
    ("Dual-lead pacemaker in place.", {"pacemaker": "present"}),
    ("Possible effusion. Left effusion is seen.", {"effusion": "present"}),
    ("No effusion on the left. Possible right effusion.", {"effusion": "uncertain"}),
    ("", {"effusion": None}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), SENTENCES)
def test_what_a_sentence_says(text: str, wanted: dict[str, str | None]) -> None:
    labels = label_report(text)
    assert {n: labels.decided[n].said if n in labels.decided else None for n in wanted} == wanted
    value = {"present": 1, "absent": 0, "uncertain": None, None: None}
    assert {name: labels.values[name] for name in wanted} == {n: value[said] for n, said in wanted.items()}
    assert set(labels.values) == set(DEFAULT_RULES.names)


def test_doubt_becomes_what_is_asked() -> None:
    for wanted in (None, 0, 1):
        labels = label_report("Possible edema.", uncertain=wanted)
        assert labels.values["edema"] == wanted
        assert labels.uncertain == ("edema",)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_words_that_decided_stand_where_they_are_said_to(newline: str) -> None:
    text = newline.join(
        (
            "CHEST PA",
            "FINDINGS: Heart size is normal.",
            "No evidence of pleural",
            "effusion. Edema.",
            "IMPRESSION: Failure.",
        )
    )
    labels = label_report(text)
    effusion = labels.decided["effusion"]
    assert text[slice(*effusion.words)] == "effusion"
    assert effusion.cue is not None
    assert text[slice(*effusion.cue)] == "No evidence of"
    assert labels.words("effusion") == "No evidence of ... effusion"
    assert labels.words("edema") == "Edema"
    assert labels.words("cardiomegaly") == "Heart size is normal"
    assert labels.words("nodule") == ""
    assert text not in repr(labels)


@pytest.mark.parametrize(
    ("text", "side", "change"),
    [
        ("Small left effusion.", "left", ""),
        ("New right-sided effusion.", "right", "new"),
        ("Stable bilateral effusions.", "both", "unchanged"),
        ("Effusion on the left, unchanged.", "left", "unchanged"),
        ("No right effusion.", "right", ""),
        ("Bibasilar effusion.", "both", ""),
        ("An effusion.", "", ""),
    ],
)
def test_side_and_change(text: str, side: str, change: str) -> None:
    mention = label_report(text).decided["effusion"]
    assert (mention.side, mention.change) == (side, change)


def test_only_findings_and_impression_are_read() -> None:
    head = "INDICATION: Pneumonia, effusion.\nTECHNIQUE: Portable.\nCOMPARISON: Prior with pneumothorax.\n"
    labels = label_report(head + "FINDINGS: Edema.\nIMPRESSION: Fracture.")
    assert {name for name, value in labels.values.items() if value == 1} == {"edema", "fracture"}
    bare = label_report("Chest. History: Pneumonia. Comparison: None. Edema. Impression: Fracture.")
    assert {name for name, value in bare.values.items() if value == 1} == {"edema", "fracture"}
    assert not label_report("HISTORY: Pneumonia. Effusion.").mentions


def test_a_sentence_ends_where_it_does() -> None:
    text = "Tip 3.5 cm above. 1. One\n2. Two; three.\nFour\nand more\n\nFive"
    assert [text[a:b].strip() for a, b in sentences(text)] == [
        "Tip 3.5 cm above",
        "1. One",
        "2. Two",
        "three",
        "Four\nand more",
        "Five",
    ]


def test_made_reports_are_read_as_they_were_meant() -> None:
    said = {MENTIONED: "present", UNCERTAIN: "uncertain", NEGATED: "absent", LEFT_OUT: None, SILENT: None}
    found, gold, wrong, total = [], [], 0, 0
    for number in range(300):
        plan = plan_film(number, seed=11)
        facts = film_facts(plan, seed=11, edge=32)
        report = write_report(plan, seed=11, rates=Rates(), carina_mm=facts.carina_mm)
        labels = label_report(report.text)
        found.append(labels.values)
        gold.append({name: int(what == MENTIONED) for name, what in report.mentions.items()})
        for name, what in report.mentions.items():
            total += 1
            wrong += (labels.decided[name].said if name in labels.decided else None) != said[what]
        for name, finding in plan.findings.items():
            if name in ("effusion", "pneumothorax", "nodule") and labels.values[name] == 1:
                assert labels.decided[name].side == {-1: "right", 0: "both", 1: "left"}[finding.side]
    check = check_labels(found, gold)
    assert len(check.scores) == 12
    assert not check.left_out
    assert min(score.f1 for score in check.scores) > 0.97
    assert wrong / total < 0.01


def test_scores_by_hand() -> None:
    found = [{"a": 1, "b": None}, {"a": 1, "b": 1}, {"a": 0, "b": 0}, {"a": None, "b": 1}]
    gold = [{"a": 1, "b": 1}, {"a": 0, "b": 1}, {"a": 1, "b": 0}, {"a": None, "b": None, "c": 1}]
    check = check_labels(found, gold)
    a, b = check.scores
    assert (a.support, a.found, a.right, a.precision, a.recall, a.f1) == (2, 2, 1, 0.5, 0.5, 0.5)
    assert (b.support, b.precision, b.recall, b.f1) == (2, 1.0, 0.5, 2 / 3)
    assert check.macro_f1 == pytest.approx((0.5 + 2 / 3) / 2)
    assert check.micro_f1 == pytest.approx(4 / 7)
    few = check_labels(found, gold, min_support=3)
    assert few.left_out == ("a", "b")
    assert math.isnan(few.macro_f1)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="2 reports"):
        check_labels([{"a": 1}] * 2, [{"a": 1}])
    with pytest.raises(InputError, match="name them alike"):
        check_labels([{"a": 1}], [{"b": 1}])
    with pytest.raises(InputError, match="cannot be read"):
        LabelRule(name="x", words=("(open",))
    with pytest.raises(InputError, match="list of words"):
        LabelRule(name="x", words=("effusion", " "))
    with pytest.raises(InputError, match="needs a name and words"):
        LabelRule(name="x", words=())
    rule = LabelRule(name="x", words=("x",))
    with pytest.raises(InputError, match=r"twice: \['x'\]"):
        Rules(labels=(rule, rule), cues={})
    with pytest.raises(InputError, match="no rule"):
        Rules(labels=(LabelRule(name="y", words=("y",), includes=("z",)),), cues={})
    with pytest.raises(InputError, match="no rule for"):
        DEFAULT_RULES.only(["sail"])
    with pytest.raises(InputError, match="no rules of labels"):
        Rules.from_dict({"labels": [{"name": "x", "words": ["x"], "colour": "red"}], "cues": {}})


def test_rules_are_data() -> None:
    again = Rules.from_dict(DEFAULT_RULES.as_dict())
    assert again == DEFAULT_RULES
    assert again.digest == DEFAULT_RULES.digest
    few = DEFAULT_RULES.only(["central_line"])
    assert set(few.names) == {"central_line", "picc", "port", "dialysis_catheter"}
    own = Rules(labels=(LabelRule(name="stent", words=("(coronary )?stent*",)),), cues=DEFAULT_RULES.cues)
    values = [labels.values for labels in label_reports(["No coronary stent.", "Stents."], rules=own)]
    assert values == [{"stent": 0}, {"stent": 1}]
    assert sum(rule.kind == "finding" for rule in DEFAULT_RULES.labels) >= 19
    assert sum(rule.kind == "tube" for rule in DEFAULT_RULES.labels) >= 11


def test_a_long_report_takes_time_in_proportion() -> None:
    text = (
        "No effusion on the left and heart size enlarged and " * 4000
    )  # 200,000 characters without a full stop
    begun = perf_counter()
    labels = label_report(text)
    assert len(labels.mentions) >= 4000
    assert perf_counter() - begun < 60  # seconds; it took minutes when sentences had no end


@pytest.mark.shared
def test_labels_of_real_reports_agree_with_the_codes_of_people(shared_data: Path) -> None:
    file = Path(__file__).resolve().parents[2] / "benchmarks" / "report_labels.py"
    if not file.exists() or not (shared_data / "radiographs").is_dir():
        pytest.skip("there are no benchmarks beside the tests, or no real reports")
    spec = spec_from_file_location("report_labels", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    check = module.judged(*module.open_i(shared_data / "radiographs", "judge"), module.CODES)
    assert len(check.scores) - len(check.left_out) >= 14
    assert check.macro_f1 > 0.9  # 0.922 when they were judged
