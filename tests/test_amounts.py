"""Amounts are the numbers that they say, however they are written, and what is none is named."""

import pytest

from voxmix._amounts import Amount, amount, whole_amount
from voxmix.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8k", 8000),
        ("8K", 8000),
        ("1e5", 100_000),
        ("1.5M", 1_500_000),
        ("16,000", 16_000),
        ("16_000", 16_000),
        (" 2.5 k ", 2500),
        ("1.1k", 1100),
        ("0.3e1", 3),
        ("123456789012345678901", 123456789012345678901),
        ("2B", 2_000_000_000),
        (".5k", 500),
    ],
)
def test_whole_amounts(text: str, value: int) -> None:
    assert whole_amount(text) == value
    assert amount(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "k", "8q", "-3", "1,00", "nan", "inf", "1e999", "8kk", "0x10", "８"])
def test_what_is_no_amount(text: str) -> None:
    if text == "８":  # another script's digit is a digit
        assert whole_amount(text) == 8
        return
    with pytest.raises(InputError, match="16k or 1e5"):
        amount(text)


def test_a_part_of_a_draw_is_no_whole_amount() -> None:
    assert amount("1.5") == 1.5
    with pytest.raises(InputError, match=r"'1.5' is 1.5, which is not whole"):
        whole_amount("1.5")


def test_settings_take_amounts_and_still_refuse_others() -> None:
    pydantic = pytest.importorskip("pydantic")
    adapter = pydantic.TypeAdapter(tuple[Amount, ...])
    assert adapter.validate_python(["8k", 1e5, 3, "1e2"]) == (8000, 100_000, 3, 100)
    for wrong in (["8q"], [1.5], [None]):
        with pytest.raises(pydantic.ValidationError):
            adapter.validate_python(wrong)
