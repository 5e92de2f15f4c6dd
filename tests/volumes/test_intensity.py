"""Rules map units to [0, 1] as the paper's table says, and never turn the order of two voxels around."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes.intensity import (
    PERCENTILES,
    PRESETS,
    RULES,
    SOFT_TISSUE_WINDOW,
    Z_SCORE,
    IntensityRule,
    rule_from_name,
)
from voxmix.volumes.recipe import Recipe, spell_out

DEFAULTS = (SOFT_TISSUE_WINDOW, Z_SCORE, PERCENTILES)


def test_window_is_linear_in_hu() -> None:
    hu = np.array([-1000, -175, 37.5, 250, 3000], np.float32).reshape(5, 1, 1)
    np.testing.assert_allclose(SOFT_TISSUE_WINDOW.apply(hu).ravel(), [0, 0, 0.5, 1, 1])


def test_z_score_uses_voxels_that_are_not_zero() -> None:
    values = np.zeros((10, 10, 10), np.float32)
    values[2:8, 2:8, 2:8] = np.random.default_rng(0).normal(100, 10, (6, 6, 6))
    scaled = Z_SCORE.apply(values)
    inside = scaled[values != 0]
    assert inside.mean() == pytest.approx(0.5, abs=1e-4)
    assert inside.std() == pytest.approx(0.1, abs=1e-4)
    assert np.all(scaled[values == 0] == 0)


def test_percentiles_of_voxels_that_are_not_zero() -> None:
    values = np.concatenate([np.zeros(500), np.arange(1, 1002)]).astype(np.float32).reshape(-1, 1, 1)
    scaled = IntensityRule(kind="percentile", low=10, high=90).apply(values)
    assert scaled[500 + 100, 0, 0] == pytest.approx(0)
    assert scaled[500 + 500, 0, 0] == pytest.approx(0.5)
    assert scaled[500 + 900, 0, 0] == pytest.approx(1)


@given(
    values=hnp.arrays(np.float32, (4, 4, 4), elements=st.floats(-3000, 3000, width=32)),
    rule=st.sampled_from(DEFAULTS),
)
def test_every_rule_is_monotone_and_stays_in_the_unit_interval(
    values: np.ndarray, rule: IntensityRule
) -> None:
    scaled = rule.apply(values)
    assert scaled.dtype == np.float32
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    assert np.all(np.diff(scaled.ravel()[np.argsort(values.ravel())]) >= 0)


@pytest.mark.parametrize("rule", [Z_SCORE, PERCENTILES])
def test_scanner_gain_does_not_matter(rule: IntensityRule) -> None:
    values = np.random.default_rng(0).gamma(2, 50, (8, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(rule.apply(values), rule.apply(values * 7), atol=1e-5)


@pytest.mark.parametrize(
    ("domain", "rule"),
    [
        *PRESETS.items(),
        ("chest_ct", SOFT_TISSUE_WINDOW),
        ("STS-CT", SOFT_TISSUE_WINDOW),
        ("BRAIN-FLAIR", Z_SCORE),
        ("HIPPO-MRT1", Z_SCORE),
        ("prostate t2w", Z_SCORE),
        ("HN-PT", Z_SCORE),
        ("STS-PET", Z_SCORE),
    ],
)
def test_rule_from_name(domain: str, rule: IntensityRule) -> None:
    assert rule_from_name(domain) == rule


@pytest.mark.parametrize("domain", ["ULTRASOUND", "FACT", "octopus"])
def test_unknown_name_warns_and_takes_percentiles(domain: str) -> None:
    with pytest.warns(VoxmixWarning, match="names no modality"):
        assert rule_from_name(domain) == PERCENTILES


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "window", "low": 5, "high": 5},
        {"kind": "percentile", "low": -1, "high": 99},
        {"kind": "zscore", "low": float("nan"), "high": 1},
    ],
)
def test_impossible_rules_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        IntensityRule(**bad)


def test_recipe_is_read_from_a_study_file_and_refuses_misspelt_keys() -> None:
    read = TypeAdapter(Recipe).validate_python
    recipe = read({"spacing_mm": 3, "intensity": {"CT": {"kind": "window", "low": -100, "high": 300}}})
    assert recipe.rule("CT") == IntensityRule(kind="window", low=-100, high=300)
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    for wrong in ({"spacing": 3}, {"intensity": {"CT": {"kind": "window", "lo": 1, "high": 2}}}):
        with pytest.raises(ValidationError):
            read(wrong)


def test_recipe_digest_of_a_domain_depends_on_its_own_rule_only() -> None:
    one = Recipe(intensity={"CT": SOFT_TISSUE_WINDOW, "MR": Z_SCORE})
    two = Recipe(intensity={"CT": SOFT_TISSUE_WINDOW, "MR": PERCENTILES})
    assert one.volume_digest("CT") == two.volume_digest("CT")
    assert one.volume_digest("MR") != two.volume_digest("MR")
    assert one.digest != two.digest
    assert Recipe(spacing_mm=2).volume_digest("ABD-CT") != Recipe(spacing_mm=3).volume_digest("ABD-CT")
    assert Recipe().volume_digest("ABD-CT") == Recipe(intensity={"ABD-CT": SOFT_TISSUE_WINDOW}).volume_digest(
        "ABD-CT"
    )


@pytest.mark.parametrize("bad", [{"spacing_mm": 0}, {"min_shape": (0, 1, 1)}, {"max_voxels": 0}])
def test_impossible_recipes_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Recipe(**bad)


@pytest.mark.parametrize("rule", [Z_SCORE, PERCENTILES])
def test_a_mask_becomes_black_and_white(rule: IntensityRule) -> None:
    values = np.zeros((4, 4, 4), np.float32)
    values[1:3] = 7
    np.testing.assert_array_equal(rule.apply(values), values / 7)


def test_rules_may_be_named_in_a_recipe() -> None:
    given_values = {"spacing_mm": 2, "intensity": {"A": "bone", "B": {"kind": "window", "low": 0, "high": 9}}}
    written = spell_out(given_values)
    assert written["intensity"]["A"] == {"kind": "window", "low": -450, "high": 1050}
    assert written["intensity"]["B"] == given_values["intensity"]["B"]
    assert given_values["intensity"]["A"] == "bone"
    assert set(RULES) == {"soft-tissue", "bone", "brain", "lung", "z-score", "percentile"}
    with pytest.raises(InputError, match=r"intensity of A: no rule is called 'bnoe'; choose one of"):
        spell_out({"intensity": {"A": "bnoe"}})


@pytest.mark.parametrize("domain", ["PET-CT", "CT_MR", "HN-PETCT CT PET"])
def test_names_of_two_modalities_get_a_word_and_the_line_to_paste(domain: str) -> None:
    with pytest.warns(VoxmixWarning, match=f'intensity: {{"{domain}": z-score}}'):
        assert rule_from_name(domain) == SOFT_TISSUE_WINDOW


def test_names_of_modalities_that_share_a_rule_get_none() -> None:
    assert rule_from_name("PET-MR") == rule_from_name("BRAIN-MR-T1") == Z_SCORE
