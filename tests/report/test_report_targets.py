"""Targets that are no source in a report: columns, panels and rows of their own."""

import numpy as np
import pytest

from voxmix import Mixture, allocate, fit
from voxmix.law.forms import LawParameters
from voxmix.law.simulate import random_law, simulate
from voxmix.report import Check, ReportContent
from voxmix.report.curves import curve_panels
from voxmix.report.document import render_report
from voxmix.report.drawing import draw_effective
from voxmix.report.figures import effective_data, forecasts, transfer_data
from voxmix.report.law_tables import effective_table, loss_table, pair_table, transfer_table
from voxmix.report.transfer_drawing import draw_transfer

DOMAINS, TARGETS = ("ABD-CT", "HN-PET"), ("ABD-CT", "HN-PET", "CLINIC")


@pytest.fixture(scope="module")
def content() -> ReportContent:
    rng = np.random.default_rng(3)
    three = random_law(rng, 3)
    truth = LawParameters.make(
        irreducible_loss=three.irreducible_loss,
        amplitude=three.amplitude,
        exponent=three.exponent,
        transfer=three.transfer[:2] / np.array([1.0, 1.0, three.transfer[:2, 2].max()]),
    )
    table = simulate(
        truth,
        budgets=(200, 800, 3200),
        mixtures=[np.array([0.5, 0.5]), np.array([0.8, 0.2])],
        domains=DOMAINS,
        targets=TARGETS,
        noise=0.01,
        rng=rng,
    )
    known = table.select(np.array([name in DOMAINS for name in table.target]))
    laws = {"transfer": fit(known), "diversity": fit(table, law="diversity", method="joint", bootstrap=20)}
    strategies = {
        "uniform": Mixture.uniform(DOMAINS),
        "transfer-aware": allocate(laws["transfer"], budget=6000),
        "diversity-aware": allocate(laws["diversity"], budget=6000),
    }
    checks = tuple(
        Check(strategy=name, budget=6000, seed=seed, target=target, loss=0.05 + 0.01 * k + 0.001 * seed)
        for k, name in enumerate(strategies)
        for seed in (0, 1)
        for target in TARGETS
    )
    return ReportContent(
        study="hospital", budget=6000, measurements=table, laws=laws, strategies=strategies, checks=checks
    )


def test_names_of_targets_go_on_after_the_domains(content):
    assert content.domain_names == DOMAINS
    assert content.target_names == TARGETS


def test_matrices_are_rectangular(content):
    for law, known in (("transfer", False), ("diversity", True)):
        data = transfer_data(content, law=law)
        assert data.transfer.shape == (2, 3)
        assert np.isfinite(data.transfer[:, 2]).all() == known
        table = transfer_table(data)
        assert [column.name for column in table.columns][3] == "to CLINIC"
        assert draw_transfer(data).svg.count("CLINIC") >= 1
        effective = effective_data(content, strategy="uniform", law=law)
        assert effective.direct.tolist() == [3000, 3000, 0]
        assert np.isnan(effective.amplification[2])
        table = effective_table([effective])
        assert [row[1] for row in table.rows] == [
            *(f"from {name}" for name in DOMAINS),
            *("effective budget", "own draws", "amplification"),
        ]
        assert [column.name for column in table.columns][2:] == [f"on {name}" for name in TARGETS]
        assert table.rows[3][2:] == (3000, 3000, 0)
        assert draw_effective(effective).svg
    pairs = [row[:2] for row in pair_table(content, law="diversity").rows]
    assert ("ABD-CT", "CLINIC") in pairs
    assert ("HN-PET", "CLINIC") in pairs
    losses = loss_table(content)
    assert [column.name for column in losses.columns][1:] == ["on ABD-CT", "on HN-PET", "on CLINIC"]
    assert all(np.isfinite(row[3]) for row in losses.rows)


def test_curves_and_forecasts_know_them(content):
    panels = {panel.target: panel for panel in curve_panels(content, law="diversity")}
    assert np.isfinite(panels["CLINIC"].irreducible_loss)
    assert len(panels["CLINIC"].series) == 4
    found = {item.law: item for item in forecasts(content, budget=6000)}
    assert np.isfinite(found["diversity"].predicted[:, 2]).all()
    assert np.isnan(found["transfer"].predicted[:, 2]).all()
    assert np.isfinite(found["transfer"].by("mean").kendall)


def test_the_document_is_written(content):
    page = render_report(content)
    assert "to CLINIC" in page
    assert "No run is trained on CLINIC" in page
