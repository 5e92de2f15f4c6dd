"""A saved law is the same law; laws of other formats are refused."""

import base64
import json
import struct
from dataclasses import replace

import numpy as np
import pytest

from voxmix import FittedLaw, Mixture, fit
from voxmix.errors import InputError
from voxmix.law.forms import Landscape
from voxmix.law.numbers import plain
from voxmix.law.simulate import random_law, simulate


@pytest.fixture(scope="module")
def law():
    rng = np.random.default_rng(0)
    table = simulate(
        random_law(rng, 3, rho=0.7),
        budgets=(500, 1000, 2000, 4000),
        mixtures=[np.full(3, 1 / 3)],
        noise=0.03,
        domains=("ABD-CT", "Schädel-MRT", "頭部-PET"),
        rng=rng,
    )
    return fit(table, law="diversity", bootstrap=20, seed=1)


def test_round_trip_keeps_every_number(law, tmp_path):
    law.save(tmp_path / "law.json")
    again = FittedLaw.load(tmp_path / "law.json")
    assert again.to_dict() == law.to_dict()
    mixture = Mixture(domains=law.domains, weights=np.array([0.5, 0.2, 0.3]))
    np.testing.assert_array_equal(again.predict(mixture, 2000), law.predict(mixture, 2000))
    np.testing.assert_array_equal(again.bootstrap.transfer, law.bootstrap.transfer)
    assert again.status == law.status


def test_every_bit_of_the_draws_is_kept(law, tmp_path):
    drawn = law.bootstrap.by_draw()
    odd = drawn["transfer"].copy()
    odd[0, 0, 1], odd[1, 2, 0], odd[2, 1, 0], odd[3, 0, 2] = np.nan, np.inf, -0.0, 5e-324
    changed = replace(law, bootstrap=law.bootstrap.changed({"transfer": odd}))
    changed.save(tmp_path / "law.json")
    again = FittedLaw.load(tmp_path / "law.json").bootstrap.by_draw()
    for name, array in (drawn | {"transfer": odd}).items():
        assert again[name].tobytes() == array.tobytes(), name


def test_draws_that_are_alike_are_written_once(law):
    alike = np.broadcast_to(law.transfer, law.bootstrap.transfer.shape)
    value = replace(law, bootstrap=law.bootstrap.changed({"transfer": alike})).to_dict()
    assert value["bootstrap"]["transfer"]["shape"] == [1, 3, 3]
    assert value["bootstrap"]["exponent"]["shape"] == [20, 3]
    np.testing.assert_array_equal(FittedLaw.from_dict(value).bootstrap.transfer, alike)


def test_a_law_of_format_1_has_its_draws_as_lists(law):
    lists = {name: plain(array) for name, array in law.bootstrap.by_draw().items()}
    again = FittedLaw.from_dict(law.to_dict() | {"format": 1, "bootstrap": lists})
    for name, array in law.bootstrap.by_draw().items():
        np.testing.assert_array_equal(again.bootstrap.by_draw()[name], array)


@pytest.mark.parametrize(
    ("key", "wrong", "said"),
    [
        ("dtype", "<f4", "'<f4'"),
        ("base64", "AAAA", "damaged"),
        ("base64", "not base64!", "damaged"),
        ("shape", [20, -1], "at least 0"),
        ("shape", [60], r"expected \[20, 3\]"),
        ("shape", "20", "damaged"),
        ("shape", None, "damaged"),
    ],
)
def test_damaged_draws_are_refused(law, key, wrong, said):
    value = law.to_dict()
    value["bootstrap"]["exponent"] = value["bootstrap"]["exponent"] | {key: wrong}
    with pytest.raises(InputError, match=said):
        FittedLaw.from_dict(value)


def test_other_software_reads_the_draws_as_the_how_to_says(law):
    packed = json.loads(json.dumps(law.to_dict()))["bootstrap"]["transfer"]
    numbers = struct.unpack(f"<{20 * 3 * 3}d", base64.b64decode(packed["base64"]))
    assert packed["shape"] == [20, 3, 3]
    assert numbers[3 * 9 + 0 * 3 + 2] == law.bootstrap.transfer[3, 0, 2]


def test_json_is_named_source_then_target(law):
    value = law.to_dict()
    assert value["transfer"]["ABD-CT"]["頭部-PET"] == law.transfer[0, 2]
    assert value["intervals"]["transfer"]["ABD-CT"]["頭部-PET"] == list(law.intervals()["transfer"][0, 2])
    assert value["exponent"]["Schädel-MRT"] == law.exponent[1]
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize(("key", "value"), [("format", 99), ("kind", "allocation")])
def test_other_formats_are_refused(law, tmp_path, key, value):
    path = tmp_path / "law.json"
    path.write_text(json.dumps(law.to_dict() | {key: value}), encoding="utf-8")
    with pytest.raises(InputError, match=str(value)):
        FittedLaw.load(path)


def test_damaged_law_is_refused(law):
    value = law.to_dict()
    del value["transfer"]
    with pytest.raises(InputError, match="transfer"):
        FittedLaw.from_dict(value)


def test_unknown_domain_in_a_mixture_is_named(law):
    with pytest.raises(InputError, match="LUNG"):
        law.predict(Mixture.uniform(("ABD-CT", "LUNG")), 1000)


def test_mixture_in_another_order_is_joined_by_name(law):
    weights = {"頭部-PET": 0.2, "ABD-CT": 0.5, "Schädel-MRT": 0.3}
    straight = Mixture(domains=law.domains, weights=np.array([0.5, 0.3, 0.2]))
    np.testing.assert_array_equal(law.predict(Mixture.from_dict(weights), 1000), law.predict(straight, 1000))


def test_contributions_add_up_to_the_effective_budget_of_the_plain_law():
    rng = np.random.default_rng(4)
    plain = fit(simulate(random_law(rng, 4), budgets=(500, 1000, 2000)))
    mixture = Mixture(domains=plain.domains, weights=np.array([0.4, 0.3, 0.2, 0.1]))
    given = plain.contributions(mixture, 2000)
    assert given.sum(axis=0) == pytest.approx(plain.effective_budget(mixture, 2000))
    assert given[1, 0] == pytest.approx(plain.transfer[1, 0] * 0.3 * 2000)


def test_gradient_is_the_slope_of_the_prediction(law):
    mixture = Mixture(domains=law.domains, weights=np.array([0.5, 0.2, 0.3]))
    slopes = Landscape(law.parameters, 2000).curvature(mixture.weights[None]).slope[0]
    step = 1e-6
    for i in range(3):
        moved = [mixture.weights + sign * step * np.eye(3)[i] for sign in (1, -1)]
        slope = (law.evaluate(moved[0], 2000) - law.evaluate(moved[1], 2000)) / (2 * step)
        assert slopes[i] == pytest.approx(slope, rel=1e-5)


def test_notebook_display_escapes_names(law):
    assert "Schädel-MRT" in law._repr_html_()
    assert "diversity" in repr(law)


def test_a_notebook_shows_transfer_source_by_target_as_the_report_does(law):
    import re

    page = law._repr_html_()
    head, body = re.search(r"Transfer: .*?<thead>(.*?)</thead><tbody>(.*?)</tbody>", page, re.DOTALL).groups()
    assert re.findall(r">([^<]+)</th>", head) == ["source", *(f"to {name}" for name in law.targets)]
    rows = re.findall(r"<tr>(.*?)</tr>", body)
    assert [re.search(r">([^<]+)</th>", row)[1] for row in rows] == list(law.domains)
    assert re.findall(r"<td>([^<]*)</td>", rows[0])[2] == f"{law.transfer[0, 2]:.3g}"
    assert f"{law.transfer[0, 2]:.3g}" != f"{law.transfer[2, 0]:.3g}"
