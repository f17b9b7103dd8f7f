"""What is believed of scenarios from how those near them went."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.curriculum.selector import ScenarioSelector, StartJudgement
from physai_ros.curriculum.success_model import SuccessModel

UNIT = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
coordinates = st.tuples(st.floats(0, 1), st.floats(0, 1))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(coordinates, st.booleans()), max_size=20), coordinates)
def test_a_success_raises_the_mean_everywhere_and_a_failure_lowers_it(history, place):
    model = SuccessModel(half_life=1e9)
    for point, mastered in history:
        model.add(np.array(point), mastered)
    grid = np.random.default_rng(0).random((16, 2))

    def mean() -> np.ndarray:
        won, lost = model.beta(grid)
        return won / (won + lost)

    before = mean()
    model.add(np.array(place), True)
    after = mean()
    assert (after >= before - 1e-12).all()
    model.add(np.array(place), False)
    assert (mean() <= after + 1e-12).all()


def test_far_away_the_prior_stands_and_old_news_fade():
    model = SuccessModel(width=0.05, half_life=2.0)
    model.add(np.zeros(2), False)
    won, lost = model.beta(np.array([[1.0, 1.0]]), np.array([0.8]))
    assert won / (won + lost) == pytest.approx([0.8], abs=1e-6)
    _, fresh = model.beta(np.zeros((1, 2)))
    for _ in range(4):
        model.add(np.ones(2), True)
    _, old = model.beta(np.zeros((1, 2)))
    assert old[0] - 0.5 == pytest.approx((fresh[0] - 0.5) / 4.0)


def test_a_place_that_goes_on_failing_loses_interest():
    selector = ScenarioSelector(UNIT, np.random.default_rng(0), "significance")
    for _ in range(100):
        selector.report({"x": 0.05, "y": 0.05}, success=False)
    for x in (0.5, 0.95):
        selector.report({"x": x, "y": 0.95}, success=False)
    hopeless, hard = np.mean([selector.significance(np.array([[0.05, 0.05], [0.95, 0.95]])) for _ in range(50)], axis=0)
    assert hopeless < hard


def test_where_half_of_it_fails_is_gone_to_more_often():
    shares = []
    for seed in range(10):
        generator = np.random.default_rng([seed, 1])
        selector = ScenarioSelector(UNIT, np.random.default_rng(seed), "significance")
        drawn = []
        for _ in range(60):
            drawn.append(selector.next())
            selector.report(drawn[-1], success=drawn[-1]["x"] < 0.7 or generator.random() < 0.5)
        shares.append(np.mean([one["x"] >= 0.7 for one in drawn]))
    assert np.mean(shares) > 0.4


def test_where_the_policy_is_less_sure_is_more_significant():
    selector = ScenarioSelector(UNIT, np.random.default_rng(0), "significance", uniform_share=0.0)
    selector.report({"x": 0.5, "y": 0.5}, success=False)

    def judge(parameters) -> StartJudgement:
        x = np.array([one["x"] for one in parameters])
        return StartJudgement(np.full(len(x), 0.5), x)

    asked = np.mean([selector.next(judge)["x"] for _ in range(200)])
    assert asked > 0.6


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="above zero"):
        SuccessModel(width=0.0)
