"""What the tests promise holds on simulated evaluations of known truth; `physai bench evaluation` has them all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from physai_ros.evaluation import error_study
from physai_ros.evaluation.power import (
    PlannedGain,
    episodes_needed,
    paired_power,
    run_spending,
    sequential_power,
    unpaired_power,
)
from physai_ros.evaluation.sequential import BettingMartingale, SequentialTest, betting_interval
from physai_ros.evaluation.spending import SpendingTest
from physai_ros.evaluation.statistics import PairedCounts, exact_paired_gain, holm, mcnemar_exact

RUNS = 1000


def test_intervals_cover_at_their_rate() -> None:
    for row in error_study.coverage(300, seed=3):
        # Clopper and Pearson's, the exact and the betting one promise it, the two score intervals do on average.
        promised = 0.93 if row["method"] in ("Wilson", "paired, Tango") else 0.95
        assert row["rate_upper"] >= promised, row


def test_peeking_costs_nothing_where_it_is_paid_for() -> None:
    rows = list(error_study.false_promotions(RUNS, seed=4))
    found = {(row["method"], row["case"]): row for row in rows}
    naive = max(row["rate"] for row in rows if row["method"] == "exact test at every look")
    assert naive > 0.15  # what looking after every pair does to a test that was made for one look
    for (method, _), row in found.items():
        if method != "exact test at every look":
            assert row["rate_lower"] <= 0.05, row


@pytest.mark.parametrize("pairs", [1, 7, 24, 100])
def test_the_spending_test_keeps_its_level_exactly(pairs: int) -> None:
    assert error_study.exact_spending_error(pairs) <= 0.05


def test_early_looks_save_trials_and_hardly_any_power() -> None:
    rows = [row for row in error_study.power(RUNS, seed=5) if row["case"].startswith("gain +20%, 40%")]
    fixed, spending, betting = (row for row in rows)
    assert spending["rate"] > fixed["rate"] - 0.05
    assert spending["pairs_used"] < 0.6 * fixed["pairs_used"]
    assert betting["pairs_used"] < 0.7 * fixed["pairs_used"]


def test_holm_keeps_the_level_over_all_candidates() -> None:
    each, together = error_study.many_candidates(RUNS, seed=6)
    assert each["rate"] > 0.1
    assert together["rate_lower"] <= 0.05
    # Holm 1979, in the form of the textbooks: 0.01, 0.02, 0.03 and 0.04 become 0.04 and thrice 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # R's p.adjust


differences = st.lists(st.sampled_from([1, 0, -1]), min_size=1, max_size=25)


@given(differences, st.integers(25, 40))
@settings(max_examples=40, deadline=None)
def test_one_by_one_is_what_all_at_once_is(series: list[int], most: int) -> None:
    test = SpendingTest(most)
    verdicts = [test.update(difference) for difference in series]
    padded = np.array([series + [0] * (most - len(series))])
    decided, pairs = run_spending(padded)
    assert {1: "better", -1: "worse", 0: ""}[int(decided[0])] == verdicts[-1]
    if verdicts[-1]:
        assert pairs[0] == next(i + 1 for i, verdict in enumerate(verdicts) if verdict)
    martingale = BettingMartingale(0.1)
    crossed = [martingale.update(difference) >= 20.0 for difference in series]
    stop = error_study.betting_stops(np.array([series]), 0.1)[0]
    assert stop == (crossed.index(True) + 1 if any(crossed) else 0)


@given(differences)
@settings(max_examples=40, deadline=None)
def test_swapping_mirrors_every_verdict_and_interval(series: list[int]) -> None:
    there, back = SequentialTest(25), SequentialTest(25)
    for difference in series:
        there.update(float(difference > 0), float(difference < 0))
        back.update(float(difference < 0), float(difference > 0))
    assert {"better": "worse", "worse": "better", "": ""}[there.verdict] == back.verdict
    interval, mirrored = betting_interval(series), betting_interval([-d for d in series])
    assert interval.lower <= np.mean(series) <= interval.upper
    assert (-mirrored.upper, -mirrored.lower) == pytest.approx(interval, abs=1e-9)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_the_exact_interval_agrees_with_the_exact_test(won: int, lost: int, same: int) -> None:
    if not won + lost + same:
        return
    counts = PairedCounts(same, won, lost, 0)
    interval = exact_paired_gain(counts)
    assert -1.0 <= interval.lower <= counts.gain <= interval.upper <= 1.0
    if abs(mcnemar_exact(counts) - 0.05) > 1e-3:
        assert (interval.lower > 0 or interval.upper < 0) == (mcnemar_exact(counts) < 0.05)
    # Where no pair is alike the gain is 2 p - 1 of the share won: Clopper and Pearson's interval.
    if not same:
        low, high = stats.binomtest(won, won + lost).proportion_ci(0.95)
        assert interval.lower <= 2 * low - 1 + 2e-2
        assert interval.upper >= 2 * high - 1 - 2e-2


def test_power_is_what_simulation_says_and_the_literature() -> None:
    plan = PlannedGain(0.7, 0.2, 0.3)
    won, lost = plan.probabilities
    draws = np.random.default_rng(0).multinomial(40, [won, lost, 1 - won - lost], 20_000)
    seen = stats.binom.sf(draws[:, 0] - 1, draws[:, 0] + draws[:, 1], 0.5) <= 0.05
    assert paired_power(plan, 40) == pytest.approx(seen.mean(), abs=0.01)
    a, b = (np.random.default_rng(i).binomial(30, rate, 3000) for i, rate in ((1, 0.9), (2, 0.5)))
    p_values = [stats.fisher_exact([[x, y], [30 - x, 30 - y]], "greater").pvalue for x, y in zip(a, b, strict=True)]
    assert unpaired_power(PlannedGain(0.5, 0.4), 30) == pytest.approx(np.mean(np.array(p_values) <= 0.05), abs=0.03)
    needed = episodes_needed(lambda n: paired_power(plan, n), 0.8)
    assert paired_power(plan, needed) >= 0.8 > paired_power(plan, needed - 1)
    early = sequential_power(plan, round(1.1 * needed) + 2, runs=1000)
    assert early.power == pytest.approx(0.8, abs=0.06)
    assert early.mean_pairs < needed
    with pytest.raises(ValueError, match="expected both rates from 0 to 1"):
        PlannedGain(0.95, 0.1)
    with pytest.raises(ValueError, match="ask for a larger gain"):
        episodes_needed(lambda n: 0.0)


def test_partial_credit_is_bet_on_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    test = SequentialTest(60, partial_credit=True)
    while not test.finished:
        test.update(float(generator.uniform(0.5, 1.0)), float(generator.uniform(0.0, 0.6)))
    assert (test.verdict, test.pairs < 60) == ("better", True)
    with pytest.raises(ValueError, match="say partial_credit"):
        SequentialTest(60).update(0.5, 0.2)
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        SequentialTest(60).update(1.5, 0.2)
    calm = SequentialTest(200, margin=0.2)
    while not calm.finished:
        calm.update(1.0, 1.0)
    assert calm.verdict == "not_worse"
