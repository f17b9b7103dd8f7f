"""Intervals, paired tests, e-values and verdicts: against scipy, published tables, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from physai_ros.evaluation.sequential import BettingMartingale, paired_e_value
from physai_ros.evaluation.statistics import (
    PairedCounts,
    bootstrap_gain,
    clopper_pearson,
    mcnemar_exact,
    paired_gain_interval,
    unpaired_exact,
    wilson,
)
from physai_ros.evaluation.verdict import compare

counts = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
paired = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda c: sum(c) > 0).map(lambda c: PairedCounts(*c))


@pytest.mark.parametrize(
    ("successes", "trials", "lower", "upper"),
    [(10, 10, 69, 100), (20, 20, 83, 100), (17, 20, 62, 97), (14, 20, 46, 88)],
)
def test_clopper_pearson_agrees_with_published_tables(successes: int, trials: int, lower: int, upper: int) -> None:
    interval = clopper_pearson(successes, trials)
    assert (round(100 * interval.lower), round(100 * interval.upper)) == (lower, upper)


@given(counts, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_intervals_agree_with_scipy(case: tuple[int, int], confidence: float) -> None:
    successes, trials = case
    if trials == 0:
        assert clopper_pearson(0, 0) == wilson(0, 0) == (0.0, 1.0)
        return
    result = stats.binomtest(successes, trials)
    assert clopper_pearson(successes, trials, confidence) == pytest.approx(tuple(result.proportion_ci(confidence)))
    expected = tuple(result.proportion_ci(confidence, method="wilson"))
    assert wilson(successes, trials, confidence) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("trials", [20, 100])
def test_clopper_pearson_covers(rate: float, trials: int) -> None:
    covered = [i.lower <= rate <= i.upper for i in (clopper_pearson(k, trials) for k in range(trials + 1))]
    assert stats.binom.pmf(np.arange(trials + 1), trials, rate) @ covered >= 0.95


def test_paired_gain_interval_covers_at_its_rate() -> None:
    generator = np.random.default_rng(0)
    for probabilities in ([0.5, 0.2, 0.1, 0.2], [0.8, 0.05, 0.05, 0.1], [0.2, 0.6, 0.05, 0.15]):
        gain = probabilities[1] - probabilities[2]
        draws = generator.multinomial(50, probabilities, size=2000)
        inside = [i.lower <= gain <= i.upper for i in (paired_gain_interval(PairedCounts(*map(int, d))) for d in draws)]
        assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


@given(paired)
@settings(max_examples=60)
def test_paired_gain_interval_holds_the_gain_and_mirrors(table: PairedCounts) -> None:
    interval = paired_gain_interval(table)
    assert -1.0 <= interval.lower <= table.gain <= interval.upper <= 1.0
    mirrored = paired_gain_interval(PairedCounts(table.both, table.current_only, table.candidate_only, table.neither))
    assert (-mirrored.upper, -mirrored.lower) == pytest.approx(interval, abs=1e-6)
    # At zero difference Tango's score is McNemar's statistic: the interval excludes 0 exactly where that exceeds z.
    differing = table.candidate_only + table.current_only
    if differing:
        statistic = (table.candidate_only - table.current_only) / np.sqrt(differing)
        if abs(abs(statistic) - stats.norm.ppf(0.975)) > 1e-6:
            assert (interval.lower > 0 or interval.upper < 0) == (abs(statistic) > stats.norm.ppf(0.975))


def test_gain_without_a_differing_pair_is_known_in_closed_form() -> None:
    z2 = stats.norm.ppf(0.975) ** 2
    interval = paired_gain_interval(PairedCounts(20, 0, 0, 0))
    assert interval == pytest.approx((-z2 / (20 + z2), z2 / (20 + z2)), abs=1e-6)


def test_exact_tests_agree_with_scipy() -> None:
    assert mcnemar_exact(PairedCounts(5, 9, 1, 5)) == pytest.approx(stats.binomtest(9, 10).pvalue)
    assert mcnemar_exact(PairedCounts(5, 0, 0, 5)) == 1.0
    # Fisher's tea: 3 of 4 cups right; one-sided p = 17/70.
    assert unpaired_exact((3, 4), (1, 4), "greater") == pytest.approx(17 / 70)
    assert unpaired_exact((18, 20), (9, 20), method="barnard") < unpaired_exact((18, 20), (9, 20))
    with pytest.raises(ValueError, match="known are: fisher, boschloo, barnard"):
        unpaired_exact((1, 2), (1, 2), method="t")


def test_bootstrap_is_seeded_and_agrees_with_the_score_interval() -> None:
    gains = [1.0] * 30 + [0.0] * 60 + [-1.0] * 10
    interval = bootstrap_gain(gains, seed=3, resamples=4000)
    assert interval == bootstrap_gain(gains, seed=3, resamples=4000)
    assert interval == pytest.approx(paired_gain_interval(PairedCounts(30, 30, 10, 30)), abs=0.03)
    spread = bootstrap_gain([1.0] * 50 + [0.0] * 50, [0] * 50 + [1] * 50, resamples=2000)
    assert (spread.lower, spread.upper) == (0.0, 1.0)


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_peeking_after_every_pair_keeps_the_false_positive_rate(margin: float) -> None:
    generator = np.random.default_rng(1)
    draws = generator.choice([1.0, 0.0, -1.0], p=[0.2, 0.6 - margin, 0.2 + margin], size=(1000, 100))
    crossed = 0
    for row in draws:
        martingale = BettingMartingale(margin)
        for difference in row:
            martingale.update(difference)
        crossed += martingale.largest >= 20.0
    assert crossed / 1000 <= 0.05
    assert paired_e_value([1.0] * 10) > 20.0


def outcomes(both: int, candidate_only: int, current_only: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * both + [True] * candidate_only + [False] * current_only + [False] * neither
    b = [True] * both + [False] * candidate_only + [True] * current_only + [False] * neither
    return a, b


@pytest.mark.parametrize(
    ("table", "margin", "verdict"),
    [
        ((5, 12, 1, 2), 0.0, "better"),
        ((5, 1, 12, 2), 0.1, "worse"),
        ((15, 3, 1, 1), 0.1, "not_worse"),
        ((15, 3, 1, 1), 0.0, "not_enough_trials"),
        ((20, 0, 0, 0), 0.1, "not_worse"),
        ((15, 1, 3, 1), 0.1, "not_enough_trials"),
        ((90, 1, 1, 8), 0.0, "no_difference"),
        ((0, 0, 0, 0), 0.1, "not_enough_trials"),
    ],
)
def test_verdicts(table: tuple[int, int, int, int], margin: float, verdict: str) -> None:
    comparison = compare(*outcomes(*table), margin=margin)
    assert comparison.verdict == verdict
    assert comparison.figures()["pairs"] == sum(table)


@given(paired)
@settings(max_examples=40, deadline=None)
def test_swapping_the_policies_swaps_better_and_worse(table: PairedCounts) -> None:
    a, b = outcomes(table.both, table.candidate_only, table.current_only, table.neither)
    mirror = {"better": "worse", "worse": "better"}
    verdict = compare(a, b).verdict
    assert compare(b, a).verdict == mirror.get(verdict, verdict)
