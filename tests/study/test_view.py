"""What a command reads of a study it reads once: the index, the plan, every result."""

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxmix import _io, design
from voxmix.cli import app
from voxmix.study import Study, StudyView, answer_content, report_content

VERBS = ("status", "fit", "allocate", "report")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each JSON file is read from here on, by its path from the study's folder."""
    found: Counter[str] = Counter()
    read = _io.read_json

    def counting(path: Path) -> object:
        found["/".join(path.parts[-3:])] += 1
        return read(path)

    monkeypatch.setattr(_io, "read_json", counting)
    for module in ("study.folder", "volumes.preparing.cache", "runs.results", "scores.result"):
        with_name = __import__(f"voxmix.{module}", fromlist=["read_json"])
        if hasattr(with_name, "read_json"):
            monkeypatch.setattr(with_name, "read_json", counting)
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_reads_the_index_once_and_each_result_once(
    finished_study: Path, reads: Counter[str], verb: str
) -> None:
    done = CliRunner().invoke(app, [verb, str(finished_study)])
    assert done.exit_code == 0, done.output
    index = {path: count for path, count in reads.items() if path.endswith("cache/index.json")}
    assert list(index.values()) == [1]
    results = {path: count for path, count in reads.items() if path.endswith("/result.json")}
    assert len([path for path in results if "runs/" in path]) >= 12
    assert set(results.values()) == {1}
    assert sum(count for path, count in reads.items() if path.endswith("/steps.json")) == 1


def test_a_report_names_each_run_once(finished_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: Counter[str] = Counter()
    digest = design.digest

    def counting(value: object) -> str:
        found = digest(value)
        hashed[found] += 1
        return found

    monkeypatch.setattr(design, "digest", counting)
    view = StudyView(Study.open(finished_study))
    content = report_content(view)
    counted = dict(hashed)
    planned = Counter(spec.run_id for spec in (*view.proxies, *view.checks))
    assert {run.run_id for run in content.runs} == set(planned)
    for (
        run,
        times,
    ) in planned.items():  # once where it is planned, and once where its result says what it is of
        assert counted[run] <= times + 1


def test_what_a_step_changes_is_seen_by_the_next_view(finished_study: Path) -> None:
    view = StudyView(Study.open(finished_study))
    checks = len({spec.run_id for spec in view.checks})
    assert (len(view.results(view.checks)), view.cache.digest) == (checks, view.cache_digest)
    after = view.after("pretrain")
    assert after.cache is view.cache
    assert view.after("prepare").cache is not view.cache
    assert view.after("a step of another project").cache is not view.cache
    (after.study.run_dir(view.checks[0]) / "result.json").unlink()
    assert len(after.results(after.checks)) == checks - 1


def test_a_run_that_finishes_later_is_seen(finished_study: Path) -> None:
    study = Study.open(finished_study)
    path = study.run_dir(StudyView(study).proxies[0]) / "result.json"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    view = StudyView(study)
    assert len(view.results(view.proxies)) == len(view.proxies) - 1
    path.write_text(text, encoding="utf-8")
    assert len(view.results(view.proxies)) == len(view.proxies)
    assert len(view.table.run) == 3 * len(view.proxies)


def test_the_answer_costs_no_path_over_budgets(finished_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = report_content(Study.open(finished_study))
    called: list[object] = []

    def never(*values: object, **options: object) -> None:
        called.append(values)
        raise AssertionError

    monkeypatch.setattr("voxmix.allocation.allocate", never)
    quick = answer_content(Study.open(finished_study))
    assert called == []
    assert (quick.answer, quick.answer_law) == (whole.answer, whole.answer_law)
    assert quick.strategies.keys() == whole.strategies.keys()
    assert len(whole.by_budget) == 13
