"""A prediction that a measurement contradicts is not the answer of a report."""

import pytest

from voxmix.mixture import Mixture
from voxmix.report import Check, ReportContent, render_report
from voxmix.study.report_contents import _recommend

DOMAINS = ("ABD-CT", "HN-PET")
SHARES = {"uniform": 0.5, "data-proportional": 0.7, "transfer-aware": 0.9, "diversity-aware": 0.95}


def content(losses: dict[str, tuple[float, ...]]) -> ReportContent:
    return ReportContent(
        study="s",
        budget=100,
        strategies={name: Mixture.from_dict({"ABD-CT": w, "HN-PET": 1 - w}) for name, w in SHARES.items()},
        recommended="diversity-aware",
        checks=tuple(
            Check(strategy=name, budget=100, seed=seed, target=target, loss=loss)
            for name, seeds in losses.items()
            for seed, loss in enumerate(seeds)
            for target in DOMAINS
        ),
    )


@pytest.mark.parametrize("winner", ["uniform", "data-proportional", "transfer-aware"])
def test_a_law_s_mixture_that_lost_gives_way_to_the_winner(winner: str) -> None:
    losses = dict.fromkeys(SHARES, (1.0, 1.01)) | {winner: (0.50, 0.51)}
    found = _recommend(content(losses))
    assert found.answer == winner
    assert any("diversity-aware" in note and "worse" in note for note in found.notes)
    page = render_report(found)
    assert f"{SHARES[winner]:.0%} ABD-CT" in page.replace(".0%", "%")


def test_among_those_that_cannot_be_told_apart_the_better_law_comes_first() -> None:
    losses = {
        "uniform": (0.500, 0.510),
        "data-proportional": (0.499, 0.509),
        "transfer-aware": (0.501, 0.511),
        "diversity-aware": (1.00, 1.01),
    }
    assert _recommend(content(losses)).answer == "transfer-aware"


@pytest.mark.parametrize(
    "losses",
    [
        {"uniform": (0.500, 0.520), "diversity-aware": (0.508, 0.518)},  # within the noise
        {"uniform": (0.5,), "diversity-aware": (0.9,)},  # one seed: the noise is not known
        {},  # nothing measured
        {"uniform": (0.5, 0.51), "transfer-aware": (0.9, 0.93)},  # others measured, not yet itself
    ],
)
def test_without_evidence_against_it_the_law_s_mixture_stays(losses: dict[str, tuple[float, ...]]) -> None:
    found = _recommend(content(losses))
    assert found.answer == "diversity-aware"
    assert found.notes == ()
