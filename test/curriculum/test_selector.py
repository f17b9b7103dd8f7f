"""Which scenario is next."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.curriculum.selector import METHODS, ScenarioSelector

BOUNDS = {"x": (0.3, 0.6), "y": (-0.2, 0.2), "still": (1.0, 1.0)}


def run(method, seed, count=60, fails=lambda p: p["x"] > 0.5):
    selector = ScenarioSelector(BOUNDS, np.random.default_rng(seed), method)
    drawn = []
    for _ in range(count):
        drawn.append(selector.next())
        selector.report(drawn[-1], success=not fails(drawn[-1]))
    return drawn, selector


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(METHODS), st.integers(0, 2**32))
def test_scenarios_are_inside_the_bounds_and_repeatable(method, seed):
    drawn, _ = run(method, seed)
    for parameters in drawn:
        assert all(low <= parameters[name] <= high for name, (low, high) in BOUNDS.items())
    assert drawn == run(method, seed)[0]


def test_failure_goes_back_to_where_it_failed_and_uniform_does_not():
    shares = {m: np.mean([p["x"] > 0.5 for seed in range(10) for p in run(m, seed)[0]]) for m in METHODS}
    assert shares["uniform"] == pytest.approx(1 / 3, abs=0.06)
    assert shares["failure"] > 0.5


def test_the_uniform_share_keeps_everything_possible():
    drawn, _ = run("failure", 1, count=400)
    assert np.mean([p["x"] < 0.4 for p in drawn]) > 0.08


def test_mastered_scenarios_are_forgotten():
    selector = ScenarioSelector(BOUNDS, np.random.default_rng(0), "failure")
    selector.report({"x": 0.5, "y": 0.0, "still": 1.0}, success=False)
    selector.report({"x": 0.5, "y": 0.0, "still": 1.0}, success=True, interventions=1)
    assert selector.failures == 2
    selector.report({"x": 0.505, "y": 0.0, "still": 1.0}, success=True)
    selector.report({"x": 0.3, "y": 0.2, "still": 1.0}, success=True)
    assert selector.failures == 1


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(METHODS), st.integers(0, 2**32))
def test_a_rehearsal_passes_over_what_is_mastered_and_now_and_then_does_not(method, seed):
    selector = ScenarioSelector(BOUNDS, np.random.default_rng(seed), method)
    drawn = [selector.next(rehearse=lambda parameters: parameters["x"] < 0.5) for _ in range(100)]
    assert all(low <= parameters[name] <= high for parameters in drawn for name, (low, high) in BOUNDS.items())
    mastered = sum(parameters["x"] < 0.5 for parameters in drawn)
    assert 0 < mastered < 35  # of 67 without; two thirds of the fifth that is not rehearsed


def test_where_all_is_mastered_a_scenario_is_run_all_the_same():
    asked = []
    selector = ScenarioSelector(BOUNDS, np.random.default_rng(0))
    for _ in range(20):
        selector.next(rehearse=lambda parameters: not asked.append(parameters))
    assert 0 < len(asked) <= 20 * 15


def test_no_mass_piles_up_on_a_bound():
    selector = ScenarioSelector(BOUNDS, np.random.default_rng(0), "failure", uniform_share=0.0)
    selector.report({"x": 0.6, "y": 0.2, "still": 1.0}, success=False)
    drawn = [selector.next() for _ in range(200)]
    assert sum(p["x"] in BOUNDS["x"] or p["y"] in BOUNDS["y"] for p in drawn) == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "luck"}, "known are uniform, failure"),
        ({"uniform_share": 1.5}, "uniform_share is 1.5"),
        ({"spread": 0.0}, "spread is 0"),
    ],
)
def test_wrong_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        ScenarioSelector(BOUNDS, np.random.default_rng(0), **options)


def test_wrong_bounds_and_reports_are_refused():
    with pytest.raises(ValueError, match="lower first"):
        ScenarioSelector({"x": (1.0, 0.0)}, np.random.default_rng(0))
    with pytest.raises(KeyError, match="lacks y"):
        ScenarioSelector(BOUNDS, np.random.default_rng(0)).report({"x": 0.4, "still": 1.0}, success=True)
