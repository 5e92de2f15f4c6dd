"""One page of several studies: each study's numbers under its own name, and what cannot stand side by side refused."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
from verbs import voxmix

from voxmix.errors import InputError
from voxmix.report import ReportContent, render_studies_report
from voxmix.report.figures import answer_data, forecasts
from voxmix.report.studies import answers_table, laws_table


@pytest.fixture(scope="module")
def two(content: ReportContent) -> dict[str, ReportContent]:
    """The study, and one that has another answer."""
    return {"large": content, "small": dataclasses.replace(content, recommended="transfer-aware")}


def test_every_study_has_its_own_answer_and_laws(two: dict[str, ReportContent]) -> None:
    table = answers_table(two)
    assert [row[:2] for row in table.rows] == [("large", "diversity-aware"), ("small", "transfer-aware")]
    for row, content in zip(table.records(), two.values(), strict=True):
        data = answer_data(content)
        assert data is not None
        assert [row[name] for name in data.domains] == data.weight.tolist()
        assert [row[f"{name}, high"] for name in data.domains] == data.interval[:, 1].tolist()
    laws = laws_table(two).records()
    assert len(laws) == 6
    for row in laws:
        (told,) = [item for item in forecasts(two[str(row["study"])], budget=16000) if item.law == row["law"]]
        assert row["error on trained mixtures"] == told.mean_error
    assert [row["law"] for row in laws if row["of the answer"] == "yes"] == ["diversity", "transfer"]


def test_the_page_has_answers_laws_scores_and_digests_last(two: dict[str, ReportContent]) -> None:
    page = render_studies_report(two, made="today")
    assert re.findall(r'<section id="([^"]+)"', page) == ["answer", "laws", "scores", "provenance"]
    assert "<h1>large and small</h1>" in page
    assert page.count("law: diversity, large") == page.count("law: transfer, small") >= 1
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.index("0123456789abcdef") > page.index('<section id="provenance"')
    assert "These studies have the same prepared volumes" not in page  # neither says what its volumes are
    assert not re.search(r"\bnan\b", re.sub(r"<[^>]+>", " ", page), flags=re.I)


def test_studies_without_a_common_domain_are_refused(two: dict[str, ReportContent]) -> None:
    other = ReportContent(study="other", strategies={}, domains=())
    with pytest.raises(InputError, match="no domain in common"):
        render_studies_report({"large": two["large"], "other": other})
    with pytest.raises(InputError, match="two or more"):
        render_studies_report({"large": two["large"]})


def test_the_verb_writes_one_page_and_says_what_it_cannot(
    finished_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = tmp_path / "again"
    shutil.copytree(finished_study, again)
    done = voxmix("report", finished_study.name, "again", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"report": "studies.html", "studies": ["study", "again"]}
    page = Path("studies.html").read_text(encoding="utf-8")
    assert "These studies have the same prepared volumes" in page
    assert "<h1>study and again</h1>" in page
    assert str(tmp_path) not in page
    done = voxmix("report", "study", "study")
    assert done.exit_code == 2
    assert "given twice" in " ".join(done.output.split())
    Path("encoders").mkdir()
    Path("encoders/study.yaml").write_text("kind: encoders\n", encoding="utf-8")
    done = voxmix("report", "study", "encoders")
    assert done.exit_code == 2
    assert "studies of mixtures, and encoders is one of encoders" in " ".join(done.output.split())
