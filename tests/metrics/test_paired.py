"""The paired test: equal to scipy's where that applies; its error rates where seeds and cells vary."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from scmobench.metrics.paired import holm, paired_t


def of(d):
    """The test of differences, seeds x cells."""
    seeds, cells = d.mean(axis=-1), d.mean(axis=-2)
    return paired_t(
        d.mean(axis=(-1, -2)),
        (seeds.var(axis=-1, ddof=1), seeds.shape[-1]),
        (cells.var(axis=-1, ddof=1), cells.shape[-1]),
    )


def test_one_source_of_spread_is_scipys_paired_t_test():
    a, b = np.random.default_rng(0).normal(size=(2, 12))
    found, expected = paired_t((a - b).mean(), ((a - b).var(ddof=1), 12)), stats.ttest_rel(a, b)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert [found.low, found.high] == pytest.approx(list(expected.confidence_interval(0.95)))
    both = paired_t((a - b).mean(), (np.nan, 1), ((a - b).var(ddof=1), 12))
    assert both.p_value == found.p_value, "a spread that is not known adds nothing"


def test_what_cannot_be_tested():
    assert paired_t(0.0, (0.0, 5)).p_value == 1
    assert np.isnan(paired_t(0.1, (0.0, 5)).p_value)
    assert np.isnan(paired_t(0.1, (np.nan, 1)).p_value)


@pytest.mark.parametrize("effects", [(0.1, 1, 1), (0.3, 1, 1), (0, 1, 0.5), (0.03, 0.2, 1)], ids=str)
def test_equal_methods_are_told_apart_in_five_of_a_hundred_cases(effects):
    """5 seeds x 300 cells; standard deviations of seeds, cells and the rest."""
    rng, (seed, cell, rest) = np.random.default_rng(1), effects
    rejected, covered = 0, 0
    for _ in range(10):
        d = rng.normal(0, 1, (200, 5, 1)) * seed + rng.normal(0, 1, (200, 1, 300)) * cell
        found = of(d + rest * rng.normal(0, 1, (200, 5, 300)))
        rejected += (found.p_value < 0.05).sum()
        covered += ((found.low <= 0) & (found.high >= 0)).sum()
    assert rejected <= 0.06 * 2000
    assert covered == 2000 - rejected
    if rest < 1 or cell >= 1:
        assert rejected >= 0.03 * 2000, "not needlessly conservative"


def test_a_difference_of_three_standard_errors_is_found_in_most_cases():
    rng = np.random.default_rng(2)
    d = rng.normal(0, 0.1, (500, 5, 1)) + rng.normal(0, 1, (500, 1, 300)) + rng.normal(0, 0.5, (500, 5, 300))
    assert (of(d + 3 * np.sqrt(0.1**2 / 5 + 1 / 300)).p_value < 0.05).mean() > 0.7


def test_cells_alone_take_the_luck_of_five_seeds_for_a_difference():
    rng = np.random.default_rng(3)
    d = rng.normal(0, 0.3, (500, 5, 1)) + rng.normal(0, 1, (500, 1, 300))
    alone = paired_t(d.mean(axis=(1, 2)), (d.mean(axis=1).var(axis=-1, ddof=1), 300))
    assert (alone.p_value < 0.05).mean() > 0.3
    assert (of(d).p_value < 0.05).mean() < 0.08


def test_holm_is_statsmodels():
    p_values = np.random.default_rng(4).random(12) ** 4
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1])
    corrected = holm([np.nan, 0.01, 0.04])
    assert np.isnan(corrected[0])
    assert corrected[1:].tolist() == [0.02, 0.04], "a test that was not made counts in none"
