"""The panel of what-ifs in a browser: what it shows is what ``allocate`` gives, and a setting can be sent and repeated."""

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix.allocation import AllocationSettings, allocate
from voxmix.cli import app
from voxmix.law import FittedLaw, fit
from voxmix.law.family import PAPER, law_form, register, unregister
from voxmix.law.reducible import Formula
from voxmix.mixture import Mixture
from voxmix.report import ReportContent, write_report
from voxmix.report import what_if as panels
from voxmix.report.sections import what_if_section

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(_CHROMIUM is None, reason="needs chromium on the path")
_CLOSE = 1e-4
_MAPS = {"w": "target_weights", "max": "max_weight", "fix": "fixed"}


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a browser shows of the panel."""

    shares: np.ndarray
    intervals: np.ndarray
    near_optimal: np.ndarray
    predicted: np.ndarray
    predicted_intervals: np.ndarray
    gap: float
    objective: float
    told: float
    command: str
    problem: str


def browse(path: Path, address: str = "") -> str:
    assert _CHROMIUM is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={path.parent / 'browser'}"]
    done = subprocess.run(
        [_CHROMIUM, *flags, "--virtual-time-budget=60000", "--dump-dom", f"file://{path}{address}"],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    return done.stdout


def shown(page: str) -> Shown:
    def column(body: str, number: int) -> np.ndarray:
        part = page.partition(f'<tbody data-is="{body}">')[2].partition("</tbody>")[0]
        rows = [re.findall(r'data-value="([^"]*)"', row) for row in part.split("</tr>")[:-1]]
        return np.array([json.loads(row[number]) for row in rows], dtype=np.float64)

    def said(name: str) -> str:
        text = re.search(rf'data-is="{name}"[^>]*>(.*?)</(?:p|code)>', page, flags=re.S)
        assert text is not None
        return unescape(re.sub("<[^>]+>", "", text[1]))

    found = re.search(r'data-is="results"([^>]*)>', page)
    assert found is not None
    values = dict(re.findall(r'data-(\w+)="([^"]*)"', found[1]))
    return Shown(
        shares=column("shares", 0),
        intervals=column("shares", 1),
        near_optimal=column("shares", 2),
        predicted=column("losses", 0),
        predicted_intervals=column("losses", 1),
        gap=float(values.get("gap", "nan")),
        objective=float(values.get("objective", "nan")),
        told=float(values.get("told", "nan")),
        command=said("command"),
        problem=said("problem"),
    )


def address_of(law: str, asked: dict[str, Any]) -> str:
    pairs = [("law", law), ("n", asked["budget"]), ("min", asked["min_weight"])]
    pairs.append(("obj", asked.get("objective", "mean")))
    pairs += [
        (f"{short}:{name}", value)
        for short, key in _MAPS.items()
        for name, value in asked.get(key, {}).items()
    ]
    return "#what-if?" + urlencode(pairs)


def assert_agrees(seen: Shown, law: FittedLaw, **asked: Any) -> None:
    found = allocate(law, **asked)
    np.testing.assert_allclose(seen.shares, found.mixture.weights, atol=_CLOSE)
    np.testing.assert_allclose(seen.intervals, found.intervals, atol=_CLOSE)
    np.testing.assert_allclose(seen.near_optimal, found.near_optimal, atol=_CLOSE)
    np.testing.assert_allclose(seen.predicted, found.predicted, rtol=_CLOSE)
    sure = law.predicted_interval(found.mixture, asked["budget"])
    np.testing.assert_allclose(seen.predicted_intervals, sure, rtol=_CLOSE)
    assert seen.objective == pytest.approx(found.objective, rel=_CLOSE)
    assert seen.told == pytest.approx(found.told_apart["uniform"], abs=0.01)
    assert 0 <= seen.gap <= 1e-6 * seen.objective


@pytest.fixture(scope="module")
def laws(make_world) -> dict[str, FittedLaw]:
    """Every kind of law: power and offset, with and without variety, shares of the budget, seeds, repeats; few domains."""
    world = make_world(("ABD-CT", "腹部 MR", "HN=PET's"))
    mixed = [
        Mixture(domains=world.domains, weights=np.array(w))
        for w in ((0.6, 0.2, 0.2), (0.2, 0.5, 0.3), (0.1, 0.3, 0.6))
    ]
    rows = []
    for seed in (1, 2):
        for number, mixture in enumerate((*(Mixture.pure(world.domains, n) for n in world.domains), *mixed)):
            for budget in (1000, 2000, 4000, 8000):
                losses = world.noisy(mixture, budget, seed) * (1 + 0.02 * seed)
                rows += [
                    {
                        "run": f"{seed}-{number}-{budget}",
                        "seed": seed,
                        "budget": budget,
                        "target": name,
                        "loss": float(v),
                    }
                    | {f"weight:{d}": float(w) for d, w in mixture.as_dict().items()}
                    for name, v in zip(world.domains, losses, strict=True)
                ]
    table = type(world.table()).from_rows(rows, domains=world.domains)
    made = {"bootstrap": 12, "seed": 0}
    volumes = {"ABD-CT": 60, "腹部 MR": 40, "HN=PET's": 30}
    return {
        "transfer": fit(table, law="transfer", **made),
        "diversity": fit(table, law="diversity", method="joint", repetition=20.0, volumes=volumes, **made),
        "offset-diversity": fit(table, law="offset-diversity", method="joint", **made),
        "budget": fit(table, law="budget", method="joint", **made),
    }


@pytest.fixture(scope="module")
def path(laws: dict[str, FittedLaw], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("what-if") / "report.html"
    domains = laws["transfer"].domains
    content = ReportContent(
        study="laws alone",
        laws=laws,
        budget=16000,
        strategies={
            "uniform": Mixture.uniform(domains),
            "transfer-aware": allocate(laws["transfer"], budget=16000, min_weight=0.05),
        },
    )
    write_report(content, path)
    return path


@in_browser
@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("transfer", {"budget": 3000, "min_weight": 0.0, "max_weight": {"ABD-CT": 0.3}}),
        ("diversity", {"budget": 50000, "min_weight": 0.05, "objective": "minimax"}),
        ("offset-diversity", {"budget": 16000, "min_weight": 0.1, "objective": "relative"}),
        (
            "budget",
            {
                "budget": 123456.5,
                "min_weight": 0.02,
                "target_weights": {"腹部 MR": 4.5, "HN=PET's": 0.0},
                "fixed": {"HN=PET's": 0.25},
            },
        ),
    ],
)
def test_the_page_shows_what_allocate_gives(
    path: Path, laws: dict[str, FittedLaw], name: str, asked: dict[str, Any]
) -> None:
    seen = shown(browse(path, address_of(name, asked)))
    assert seen.problem == ""
    assert_agrees(seen, laws[name], **asked)
    said = shlex.split(seen.command)
    assert said[:4] == ["voxmix", "allocate", "--budget", f"{asked['budget']:g}"] or asked["budget"] > 1e5
    for flag, key in (
        ("--max-weight", "max_weight"),
        ("--fix", "fixed"),
        ("--target-weight", "target_weights"),
    ):
        given = [said[k + 1] for k, word in enumerate(said) if word == flag]
        assert sorted(given) == sorted(f"{n}={v:g}" for n, v in asked.get(key, {}).items())


@in_browser
def test_it_begins_with_the_study_and_says_what_cannot_be_met(path: Path, laws: dict[str, FittedLaw]) -> None:
    """By default the law and the settings of the study; a setting that no mixture meets is said, not solved."""
    first = next(iter(panels.portable_laws(ReportContent(study="", laws=laws))))
    assert_agrees(shown(browse(path)), laws["transfer"], budget=16000, min_weight=0.05)
    assert first == "offset-diversity"  # without an answer, the law that is preferred
    seen = shown(browse(path, "#what-if?min=0.4&law=transfer&obj=nonsense&max:KNEE=3&n=0"))
    assert "budget" in seen.problem
    seen = shown(browse(path, "#what-if?min=0.4&law=transfer"))
    assert "120.0%" in seen.problem


def test_presets_hold_what_gives_each_strategy(content: ReportContent) -> None:
    panel = panels.what_if(content)
    assert isinstance(panel, panels.WhatIf)
    assert set(panel.presets) == set(content.strategies)
    uniform = panel.data["presets"]["uniform"]
    assert sum(uniform["fix"].values()) == pytest.approx(1)
    preset = panel.data["presets"]["diversity-aware"]
    found = allocate(content.laws[preset["law"]], budget=preset["n"], min_weight=preset["min"])
    item = content.strategies["diversity-aware"]
    np.testing.assert_array_equal(found.mixture.weights, item.mixture.weights)


def test_settings_of_a_study_hold_in_the_panel(content: ReportContent) -> None:
    """Volumes with max_epochs bound the shares; prices and formulas that the script does not know are said."""
    name = content.domain_names[0]
    asked = AllocationSettings(
        budget=16000, max_epochs=50, volumes={name: 32}, no_worse_than="uniform", max_weight={name: 0.5}
    )
    panel = panels.what_if(dataclasses.replace(content, asked=asked))
    assert isinstance(panel, panels.WhatIf)
    law = panel.data["laws"]["transfer"]
    assert law["stock"] == [1600.0, *[None] * 5]
    assert law["guard"] == pytest.approx([1 / 6] * 6)
    assert panel.data["asked"]["max"] == {name: 0.5}
    costly = dataclasses.replace(content, asked=AllocationSettings(budget=1.0, cost={name: 2.0}))
    assert "prices" in what_if_section(costly).missing


def test_a_law_whose_formula_the_page_does_not_know_is_left_out_and_named(content: ReportContent) -> None:
    odd = Formula(
        value=lambda n, beta: 1 / (1 + n) ** beta,
        by_reach=lambda n, beta: (-beta * (1 + n) ** (-beta - 1), beta * (beta + 1) * (1 + n) ** (-beta - 2)),
        by_number=lambda n, beta: {"exponent": -np.log(1 + n) / (1 + n) ** beta},
    )
    form = dataclasses.replace(law_form(PAPER), name="odd", strategy="odd-aware", fall=odd)
    register(form)
    try:
        known = content.laws["transfer"]
        law = dataclasses.replace(
            known, law="odd", parameters=dataclasses.replace(known.parameters, fall=odd)
        )
        panel = panels.what_if(dataclasses.replace(content, laws={**content.laws, "odd": law}))
        assert isinstance(panel, panels.WhatIf)
        assert "odd" not in panel.data["laws"]
        assert any("odd" in remark for remark in panel.remarks)
        alone = panels.what_if(ReportContent(study="", laws={"odd": law}))
        assert isinstance(alone, str)
        assert "odd" in alone
    finally:
        unregister("odd")


def test_draws_are_kept_as_they_are_then_in_short_then_thinned(
    content: ReportContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(exact: int, most: int) -> tuple[dict[str, Any], panels.WhatIf]:
        monkeypatch.setattr(panels, "_EXACT_BYTES", exact)
        monkeypatch.setattr(panels, "_MOST_BYTES", most)
        panel = panels.what_if(content)
        assert isinstance(panel, panels.WhatIf)
        return panel.data["laws"]["diversity"], panel

    law, panel = kept(10**6, 10**6)
    assert law["exact"]
    assert law["draws"] == 40
    assert not panel.remarks
    law, panel = kept(10, 10**6)
    assert not law["exact"]
    assert law["draws"] == 40
    law, panel = kept(10, 9000)
    assert 0 < law["draws"] < 40
    assert "of 40 bootstrap draws" in " ".join(panel.remarks)


def test_numbers_in_three_bytes_are_near(content: ReportContent) -> None:
    values = np.concatenate([[0.0], np.geomspace(1e-9, 1e6, 999)])[None]
    packed = panels._in_three_bytes(values)
    bits = (packed.astype(np.uint32) << np.array([0, 8, 16], dtype=np.uint32)).sum(axis=-1).astype(
        np.uint32
    ) << 7
    np.testing.assert_allclose(bits.astype("<u4").view("<f4"), values, rtol=8e-6)


@in_browser
def test_draws_in_short_give_nearly_the_same(
    laws: dict[str, FittedLaw], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "_EXACT_BYTES", 10)
    content = ReportContent(study="in short", laws={"transfer": laws["transfer"]}, budget=16000)
    write_report(content, tmp_path / "report.html")
    seen = shown(browse(tmp_path / "report.html"))
    found = allocate(laws["transfer"], budget=16000, min_weight=0.05)
    np.testing.assert_allclose(seen.shares, found.mixture.weights, atol=_CLOSE)
    np.testing.assert_allclose(seen.intervals, found.intervals, atol=5e-3)


def _cli(*args: str) -> str:
    done = CliRunner().invoke(app, list(args))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_law_alone_has_a_report_without_steps_of_a_study(
    laws: dict[str, FittedLaw], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``voxmix report law.json``: curves, transfers, a mixture and the panel; no command that needs a study."""
    monkeypatch.chdir(tmp_path)
    laws["transfer"].save(tmp_path / "law.json")
    written = json.loads(_cli("report", "law.json", "--json"))["report"]
    page = (tmp_path / written).read_text(encoding="utf-8")
    assert written == "law.html"
    assert re.findall(r'<section id="([^"]+)"', page) == [
        "answer",
        "what-if",
        "strategies",
        "regime",
        "transfer",
        "curves",
        "effective",
        "provenance",
    ]
    assert "voxmix pretrain" not in page
    assert '"command":"voxmix allocate law.json"' in page
    assert str(tmp_path) not in page


@in_browser
def test_the_command_of_the_page_gives_what_the_page_shows(
    laws: dict[str, FittedLaw], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that is copied, run as it is: names that a shell would take apart, limits, weights, an objective."""
    monkeypatch.chdir(tmp_path)
    laws["diversity"].save(tmp_path / "a law.json")
    _cli("report", "a law.json", "-o", "page.html")
    asked = {
        "budget": 30000,
        "min_weight": 0.03,
        "objective": "relative",
        "max_weight": {"腹部 MR": 0.4},
        "target_weights": {"HN=PET's": 2.5},
    }
    seen = shown(browse(tmp_path / "page.html", address_of("diversity", asked)))
    said = shlex.split(seen.command)
    assert said[:3] == ["voxmix", "allocate", "a law.json"]
    found = json.loads(_cli(*said[1:], "--json"))
    assert found["minimized"] == "relative"
    np.testing.assert_allclose(seen.shares, list(found["weights"].values()), atol=_CLOSE)
    np.testing.assert_allclose(seen.intervals, list(found["intervals"].values()), atol=_CLOSE)
    np.testing.assert_allclose(seen.near_optimal, list(found["near_optimal"].values()), atol=_CLOSE)
    np.testing.assert_allclose(seen.predicted, list(found["predicted_loss"].values()), rtol=_CLOSE)
