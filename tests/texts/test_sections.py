"""Sections of a report by its headings."""

import pytest

from voxmix.texts.sections import chosen_text, sections_of

PARTS = {"indication": "Cough.", "findings": "Clear lungs. No effusion.", "impression": "Normal chest."}


@pytest.mark.parametrize(
    "report",
    [
        "INDICATION: Cough. FINDINGS: Clear lungs. No effusion. IMPRESSION: Normal chest.",
        "Indication: Cough.\nFindings: Clear lungs. No effusion.\nImpression: Normal chest.",
        "Clinical history - Cough.\r\n\r\nFINDINGS\r\nClear lungs. No effusion.\r\nCONCLUSION\r\nNormal chest.",
        "**Reason for exam:** Cough.\n**Findings:** Clear lungs. No effusion.\n**Impression:** Normal chest.",
        "HISTORY:Cough.  REPORT:Clear lungs. No effusion.  OPINION:Normal chest.",
        "History: Cough. Findings: Clear lungs. No effusion. Impression: Normal chest.",
        "Clinical Information: Cough.\nFINDINGS: Clear lungs. No effusion.\nFINAL DIAGNOSIS: Normal chest.",
    ],
)
def test_headings_in_several_spellings(report: str) -> None:
    found = {name: " ".join(text.split()) for name, text in sections_of(report).items()}
    assert found == PARTS


def test_words_inside_a_sentence_are_no_headings() -> None:
    text = "Prior study shows findings of edema; impression of the skin fold. The history is long."
    assert sections_of(text) == {"other": text}


def test_wanted_sections_alone_and_a_report_without_headings_whole() -> None:
    report = "CHEST, 2 VIEWS\nHISTORY: Fever.\nFINDINGS: Edema.\nIMPRESSION: Failure."
    assert chosen_text(report, ("findings", "impression")) == "Edema.\nFailure."
    assert chosen_text("Edema and failure.", ("findings",)) == "Edema and failure."
    assert chosen_text("HISTORY: Fever.", ("findings",)) == ""
    assert chosen_text("", ("findings",)) == ""


def test_a_section_that_comes_twice_is_joined() -> None:
    assert sections_of("FINDINGS: A.\nADDENDUM x\nFINDINGS: B.")["findings"] == "A.\nADDENDUM x\nB."
