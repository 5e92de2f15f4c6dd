"""Many doubts stay few lines: one for a kind, what matters most first, nothing lost from the count."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from voxmix import fit
from voxmix.law.simulate import random_law, simulate
from voxmix.law.status import ParameterStatus
from voxmix.law.status_lines import MOST, doubts_of, few_lines


def item(parameter: str, target: str, state: str, *, source: str | None = None) -> ParameterStatus:
    message = "" if state == "ok" else f"about {parameter} {source or ''}{target}"
    return ParameterStatus(parameter=parameter, target=target, source=source, state=state, message=message)


TRANSFERS = [item("transfer", "T", "not identified", source=f"S{k}") for k in range(5)]
TRANSFERS += [item("transfer", "U", "not identified", source="S3"), item("transfer", "V", "ok", source="S3")]


def test_many_doubts_of_a_kind_are_one_line_that_counts_them() -> None:
    steep = [
        item("exponent", "T", "at bound"),
        item("exponent", "U", "at bound"),
        item("exponent", "V", "ok"),
    ]
    assert doubts_of([*steep, *TRANSFERS]) == (
        "6 of 7 transfers are not identified (from S3 2, S0 1, S1 1 and 2 other sources), such as: about transfer S0T",
        "2 of 3 exponents are at bound (T, U), such as: about exponent T",
    )
    assert doubts_of(steep[:1]) == ("about exponent T",)
    assert doubts_of([item("irreducible_loss", name, "at bound") for name in "TUV"]) == (
        "3 of 3 irreducible losses are at bound (every target), such as: about irreducible_loss T",
    )
    same = replace(steep[0], parameter="amplitude")
    assert doubts_of([steep[0], same]) == ("about exponent T",)


def test_what_decides_most_comes_first_whatever_the_order() -> None:
    given = [
        item("transfer", "T", "at bound", source="S"),
        item("kappa", "T", "at bound"),
        item("irreducible_loss", "T", "at bound"),
        item("transfer", "U", "not identified", source="S"),
        item("exponent", "T", "not identified"),
        item("amplitude", "U", "at bound"),
        item("rho", "T", "not converged"),
    ]
    order = ["rho T", "amplitude U", "exponent T", "transfer SU", "irreducible_loss T"]
    for status in (given, given[::-1]):
        found = doubts_of(status)
        assert found[:5] == tuple(f"about {name}" for name in order)
        assert set(found[5:]) == {"about kappa T", "about transfer ST"}


def test_all_that_is_left_out_is_counted() -> None:
    remarks = [f"remark {k}" for k in range(9)]
    found = few_lines(remarks, TRANSFERS, where="--json lists them")
    assert len(found) == MOST
    assert found[:3] == tuple(remarks[:3])
    assert found[3] == doubts_of(TRANSFERS)[0]
    assert found[4] == "remark 3"
    assert found[5] == (
        "in all, 6 of 7 numbers are at a bound or not told by these runs and 5 more remarks are not shown; "
        "--json lists them"
    )


def test_few_doubts_are_all_said() -> None:
    one = item("exponent", "T", "at bound")
    assert few_lines(["a remark"], [one], where="x") == ("a remark", "about exponent T")
    assert few_lines([], [item("exponent", "T", "ok")], where="x") == ()


@pytest.mark.parametrize(
    "options", [{"law": "transfer"}, {"law": "diversity", "method": "joint", "bootstrap": 40}]
)
def test_a_fit_on_six_domains_ends_in_few_lines(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    table = simulate(
        random_law(rng, 6), budgets=(500, 1000, 2000), mixtures=[np.full(6, 1 / 6)], noise=0.2, rng=rng
    )
    law = fit(table, **options)
    assert len(law.problems()) > 15
    lines = few_lines(law.notes, law.status, where="--json lists them")
    assert len(lines) <= MOST
    assert f"{len(law.problems())} of {len(law.status)} numbers" in lines[-1]
