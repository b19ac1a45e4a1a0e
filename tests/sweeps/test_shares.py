"""Wilson's interval is the one that others compute; that of a skewed mean holds it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimikit.sweeps.shares import around, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_nothing_tried_means_nothing_known():
    assert wilson(0, 0) == (0.0, 1.0)


@given(
    st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
)
def test_it_holds_the_share_and_stays_within_bounds(case):
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert (1 - high, 1 - low) == pytest.approx(wilson(n - successes, n), abs=1e-12)


@pytest.mark.parametrize(
    ("drawn", "mean", "n", "least"),
    [
        (lambda rng, n: rng.lognormal(0, 1, n), np.exp(0.5), 8, 0.905),
        (lambda rng, n: rng.lognormal(0, 1.5, n), np.exp(1.125), 20, 0.87),
        (lambda rng, n: rng.gamma(0.3, 1, n), 0.3, 5, 0.905),
        (lambda rng, n: rng.uniform(0, 1, n), 0.5, 5, 0.94),
    ],
)
def test_the_mean_of_skewed_values_is_in_its_interval(drawn, mean, n, least):
    """By Student's interval it is there 82, 75, 76 and 92 % of the time."""
    rng = np.random.default_rng(1)
    limits = (around(drawn(rng, n), positive=True) for _ in range(2000))
    held = sum(low <= mean <= high for low, high in limits)
    assert held >= least * 2000


def test_skewness_widens_an_interval_upwards_alone():
    low, high = around([1.0, 1.0, 1.0, 1.0, 6.0], positive=True)
    flat_low, flat_high = around([0.0, 0.0, 2.0, 4.0, 4.0], positive=True)
    assert around([1.0, 1.0, 1.0, 1.0, 6.0])[0] == pytest.approx(2 - 2.776, abs=1e-3)
    assert (low, flat_low) == (0.0, 0.0)
    assert flat_high == pytest.approx(2 * np.exp(2.776 * (4 / 5) ** 0.5 / 2), rel=1e-3)
    assert high > flat_high


@given(st.floats(1e-300, 1e150), st.integers(2, 50))
def test_one_large_value_of_any_size_gives_limits(size, n):
    low, high = around([size, *[0.0] * n], positive=True)
    assert 0 <= low <= high < np.inf
