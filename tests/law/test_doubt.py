"""Numbers that the runs do not tell are never "ok", and laws that disagree are named."""

from dataclasses import replace

import numpy as np
import pytest

from voxmix import fit
from voxmix.law.doubt import WIDE, disagreement_sentence, disagreements
from voxmix.law.simulate import random_law, simulate


def noisy(noise=0.3, seed=1):
    rng = np.random.default_rng(seed)
    truth = random_law(rng, 4, rho=0.7)
    return simulate(truth, budgets=(500, 1000, 2000, 4000), mixtures=[np.full(4, 0.25)], noise=noise, rng=rng)


@pytest.mark.parametrize(
    "options", [{"law": "transfer"}, {"law": "diversity", "method": "joint", "loss": "relative-huber"}]
)
def test_a_transfer_whose_interval_spans_over_a_decade_is_not_ok(options):
    law = fit(noisy(noise=0.5), bootstrap=80, **options)
    bounds = law.intervals()
    wide = 0
    for item in law.status:
        if item.parameter != "transfer":
            continue
        low, high = bounds["transfer"][law.domains.index(item.source), law.targets.index(item.target)]
        if high > WIDE * low:
            wide += 1
            assert item.state != "ok"
            assert item.message
    assert wide > 3
    assert {s["state"] for s in law.to_dict()["status"] if s["parameter"] == "transfer"} != {"ok"}


def test_a_transfer_that_the_runs_tell_stays_ok():
    law = fit(noisy(noise=0.003), bootstrap=80)
    assert all(item.state == "ok" for item in law.status if item.parameter == "transfer")


def test_laws_that_disagree_tenfold_are_named_with_both_values_the_worst_first():
    table = noisy(noise=0.01)
    law = fit(table)
    other = law.transfer.copy()
    other[0, 1], other[2, 3] = law.transfer[0, 1] / 500, law.transfer[2, 3] / 20
    moved = replace(law, law="diversity", parameters=replace(law.parameters, transfer=other))
    naive = replace(law, law="naive", parameters=replace(law.parameters, transfer=np.eye(4)))
    found = disagreements({"naive": naive, "transfer": law, "diversity": moved})
    assert [(item.source, item.target) for item in found] == [("D0", "D1"), ("D2", "D3")]
    words = disagreement_sentence({"naive": naive, "transfer": law, "diversity": moved})
    assert f"{other[0, 1]:.2g} by diversity and {law.transfer[0, 1]:.2g} by transfer" in words
    assert "on 2 transfers" in words
    assert disagreement_sentence({"naive": naive, "transfer": law}) == ""
    low = replace(law, parameters=replace(law.parameters, transfer=np.full((4, 4), 1e-6)))
    high = replace(law, parameters=replace(law.parameters, transfer=np.full((4, 4), 1e-3)))
    assert not disagreements({"a": low, "b": high})  # both say: worth next to nothing


def test_large_numbers_are_written_without_an_exponent():
    law = fit(noisy(noise=0.01))
    far = law.transfer.copy()
    far[0, 1] = 1234.5
    moved = replace(law, law="diversity", parameters=replace(law.parameters, transfer=far))
    assert "1,234 by diversity" in disagreement_sentence({"transfer": law, "diversity": moved})
