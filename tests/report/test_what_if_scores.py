"""The panel of laws of scores in a browser: what it shows is what ``predict`` and ``plan`` print, and a setting can be sent and repeated."""

import json
import re
import shlex
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import made_encoder_study
import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, MISSING, Browser
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.probe_tasks import JudgedEncoder
from voxmix.report import EncoderReportContent, render_encoder_report, write_encoder_report
from voxmix.report.what_if_scores import ScoreWhatIf, score_what_if
from voxmix.scaling import Scored, ScoreLaws, fit_score_laws
from voxmix.scores.metric import mean_of

in_browser = pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason=MISSING)
SIZES = (64, 256, 1024, 4096)
TASKS = {"tubes & lines": 0.8, "findings": 1.0}
SLOPES = {"clip": 0.2, "dino": 0.07, "mae's": -0.02}
_ROWS = """const rows = (name) => [...document.querySelectorAll(`[data-is="${name}"] tr`)].filter((r) => r.cells.length > 1)
    .map((r) => [...r.cells].map((c) => c.dataset.value === undefined ? c.innerText : JSON.parse(c.dataset.value)));
const said = (name) => document.querySelector(`[data-is="${name}"]`).textContent;
return { errors: rows("errors"), needs: rows("needs"), answer: said("answer"), doubt: said("doubt"), problem: said("problem"),
    predict: said("predict"), plan: said("plan"), wide: document.documentElement.scrollWidth };"""


def _scored(task: str, objective: str, samples: int, seed: int, values: np.ndarray) -> Scored:
    return Scored(
        task=task,
        metric="accuracy",
        outside=False,
        judged=JudgedEncoder(
            name=f"{objective or 'rad-dino'} {samples} {seed}",
            encoder="e",
            objective=objective,
            start="rad-dino",
            samples=samples,
            seed=seed,
        ),
        cases=tuple(f"c{i}" for i in range(len(values))),
        subjects=tuple(f"p{i // 2}" for i in range(len(values))),
        weighted=mean_of(values),
        score=float(values.mean()),
    )


@pytest.fixture(scope="module")
def laws() -> ScoreLaws:
    """Two tasks, three objectives of unequal slopes, one of them with two sizes fewer, persons who are harder than others."""
    rng = np.random.default_rng(4)
    scores = []
    for task, worse in TASKS.items():
        hard = rng.normal(size=120)
        for objective, slope in SLOPES.items():
            for k, samples in enumerate(SIZES if objective != "dino" else SIZES[1:]):
                for seed in range(2):
                    error = (
                        worse * 0.4 * (samples / 64) ** -slope * np.exp(0.02 * rng.normal() + 0.01 * k % 2)
                    )
                    scores.append(
                        _scored(task, objective, samples, seed, np.clip(1 - error + 0.05 * hard, 0, 1))
                    )
        scores.append(
            _scored(
                task, "", 0, 0, np.clip(1 - 0.3 * worse + 0.05 * hard + 0.02 * rng.normal(size=120), 0, 1)
            )
        )
    return fit_score_laws(scores, draws=100)


@pytest.fixture(scope="module")
def folder(laws: ScoreLaws, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Laws in a file, and their page."""
    folder = tmp_path_factory.mktemp("scores")
    laws.save(folder / "my laws.json")
    write_encoder_report(
        EncoderReportContent(study="laws", laws=laws, laws_file="'my laws.json'"), folder / "page.html"
    )
    return folder


def _shown(browser: Browser, folder: Path, **asked: Any) -> dict[str, Any]:
    browser.open(folder / "page.html", "#what-if?" + urlencode(asked, doseq=True) if asked else "")
    found: dict[str, Any] = browser.run(_ROWS)
    return found


def _json(command: str) -> dict[str, Any]:
    said = shlex.split(command)
    assert said[0] == "voxmix"
    done = CliRunner().invoke(app, [*said[1:], "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _numbers(value: dict[str, Any] | None) -> list[float]:
    return [
        float("nan") if value is None or value[k] is None else float(value[k])
        for k in ("value", "low", "high")
    ]


def _same(seen: Any, value: dict[str, Any] | None) -> None:
    own = [float("nan")] * 3 if seen is None else [float("nan") if v is None else float(v) for v in seen]
    np.testing.assert_allclose(own, _numbers(value), rtol=1e-4)


@in_browser
@pytest.mark.parametrize(
    "asked",
    [
        {"n": 1024, "goal": 0.2, "like": "dino from rad-dino"},
        {"n": 700, "task": "tubes & lines", "goal": 0.75, "by": "score", "like": "clip from rad-dino"},
        {"n": 20000, "goal": 0.05, "off": ["dino"], "like": "mae's from rad-dino"},
        {"n": 8, "goal": 0.6, "off": ["mae's", "clip"]},
        {"n": 500, "goal": 0.16, "ref": "rad-dino", "like": "clip from rad-dino"},
    ],
)
def test_the_page_shows_what_its_commands_print(
    browser: Browser, folder: Path, laws: ScoreLaws, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors, changes of the reference's error, images for an aim and data equivalents, to 1e-4, of the same series in the same order."""
    monkeypatch.chdir(folder)
    seen = _shown(browser, folder, **asked)
    assert seen["problem"] == ""
    told = _json(seen["predict"])["predicted"]
    needed = _json(seen["plan"])["needed"]
    assert len(seen["errors"]) == len(seen["needs"]) == len(told) == len(needed) > 0
    like = asked.get("like", "clip from rad-dino")
    for errors, needs, one, plan in zip(seen["errors"], seen["needs"], told, needed, strict=True):
        name = f"{one['objective']} from {one['start']}"
        assert name in errors[0]
        assert name in needs[0]
        assert (plan["task"], plan["objective"]) == (one["task"], one["objective"])
        _same(errors[1], one)
        _same(errors[4], one["changes"][0])
        assert errors[5].startswith("yes") == (one["status"] == "")
        _same(needs[2], plan)
        others = {f"{other['objective']} from {other['start']}": other for other in one["equivalents"]}
        _same(needs[3], others.get(like))
        crossing = next(c for c in laws.crossings if (c.task, c.objective) == (one["task"], one["objective"]))
        np.testing.assert_allclose(
            [np.nan if v is None else float(v) for v in needs[1]],
            [crossing.samples.value, crossing.samples.low, crossing.samples.high],
        )
    assert {one["task"] for one in told} == ({asked["task"]} if "task" in asked else set(TASKS))
    assert not {one["objective"] for one in told} & set(asked.get("off", []))


@in_browser
def test_what_is_beyond_the_measured_sizes_is_said(browser: Browser, folder: Path) -> None:
    assert _shown(browser, folder, n=1000)["doubt"] == ""
    beyond = _shown(browser, folder, n=20480)
    assert "20,480 images lie 5 times outside of the measured sizes" in beyond["doubt"]
    assert all("times outside" in row[5] for row in beyond["errors"])
    far = _shown(browser, folder, n=1e9)
    assert all(row[1] == [None, None, None] for row in far["errors"])
    assert "nothing can be told" in far["answer"]
    nothing = _shown(browser, folder, off=list(SLOPES))
    assert "switched off" in nothing["problem"]


@in_browser
def test_controls_take_amounts_and_write_the_address(browser: Browser, folder: Path) -> None:
    browser.size(400)
    _shown(browser, folder)
    browser.run(
        """const c = document.querySelector('input[type=text][data-set=n]'); c.value = '8k';
        c.dispatchEvent(new Event('input', { bubbles: true }));
        const on = document.querySelector('[data-set=on][data-name=dino]'); on.click();"""
    )
    seen = browser.run(_ROWS)
    assert "With 8,000 images" in seen["answer"]
    assert "--samples 8000" in seen["predict"]
    assert seen["predict"].count("--objective") == 2
    assert seen["wide"] == 400
    link = browser.run("return document.querySelector('[data-is=link]').getAttribute('href')")
    assert "n=8000" in link
    assert "off=dino" in link
    invalid = """const c = document.querySelector('input[type=text][data-set=n]'); c.value = arguments[0];
        c.dispatchEvent(new Event('input', { bubbles: true })); return c.getAttribute('aria-invalid');"""
    assert browser.run(invalid, "many") == "true"
    assert browser.run(invalid, "1e4") is None
    assert "With 10,000 images" in browser.run(_ROWS)["answer"]
    browser.size(1280)


def test_laws_alone_have_a_report_whose_commands_name_their_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["report", "my laws.json", "--json"])
    assert done.exit_code == 0, done.output
    page = (folder / json.loads(done.stdout)["report"]).read_text(encoding="utf-8")
    assert re.findall(r'<section id="([^"]+)"', page) == [
        "answer",
        "what-if",
        "curves",
        "compared",
        "reading",
    ]
    assert '"predict":"voxmix predict \'my laws.json\'"' in page
    assert str(folder) not in page


def test_laws_that_tell_nothing_have_no_panel() -> None:
    none = score_what_if(ScoreLaws(series=()))
    assert isinstance(none, str)
    assert "three sizes" in none
    made = made_encoder_study.laws()
    alone = replace(made, series=tuple(replace(one, line=None) for one in made.series))
    assert isinstance(score_what_if(alone), str)
    page = render_encoder_report(EncoderReportContent(study="cxr", no_laws="Two sizes, three are needed."))
    assert "what-if-data" not in page
    assert "what-if-panel" not in page


def test_a_reference_that_few_images_beat_and_many_do_not_is_said() -> None:
    made = made_encoder_study.laws()
    below = replace(made.crossings[0], task="findings at B", reach="below")
    found = score_what_if(replace(made, crossings=(below,)))
    assert isinstance(found, ScoreWhatIf)
    assert found.data["crossings"][0]["words"].endswith("but more make it worse")
    worse = {one["task"] for one in found.data["series"] if one["worse"]}
    assert worse == {"findings at B"}


def test_names_are_escaped_and_the_script_is_the_one_allowed() -> None:
    found = score_what_if(made_encoder_study.laws(task="<img src=x onerror=y>"))
    assert isinstance(found, ScoreWhatIf)
    page = render_encoder_report(
        made_encoder_study.content(laws=made_encoder_study.laws(task="<img src=x onerror=y>"))
    )
    assert "<img src=x" not in page
    data = json.loads(unescape(re.findall(r'id="what-if-data">(.*?)</script>', page, flags=re.S)[0]))
    assert "<img src=x onerror=y>" in data["tasks"]
