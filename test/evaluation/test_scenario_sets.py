"""Scenario seeds of different sets and seeds never meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.evaluation.scenario_sets import SCENARIO_SETS, scenario_seeds, set_of_seed

sets = st.sampled_from(sorted(SCENARIO_SETS))
seeds = st.integers(0, 2**20 - 1)
indices = st.integers(0, 2**29 - 1)


@given(sets, seeds, indices, sets, seeds, indices)
def test_two_seeds_are_equal_only_where_everything_is(
    name_a: str, seed_a: int, index_a: int, name_b: str, seed_b: int, index_b: int
) -> None:
    (a,), (b,) = scenario_seeds(name_a, seed_a, 1, index_a), scenario_seeds(name_b, seed_b, 1, index_b)
    assert (a == b) == ((name_a, seed_a, index_a) == (name_b, seed_b, index_b))
    assert set_of_seed(a) == name_a
    assert 0 < a < 2**53


def test_a_prefix_of_a_stream_stays_when_more_is_asked_for() -> None:
    assert scenario_seeds("train", 3, 10) == scenario_seeds("train", 3, 50)[:10]
    assert scenario_seeds("train", 3, 50)[10:] == scenario_seeds("train", 3, 40, start=10)
    assert set_of_seed(7) is None


def test_what_does_not_exist_is_refused_in_words() -> None:
    with pytest.raises(
        ValueError, match="known are: calibration, held_out, nominal, promotion, randomized, stress, train, warm_start"
    ):
        scenario_seeds("test", 0, 1)
    with pytest.raises(ValueError, match="expected 0 to 1048575"):
        scenario_seeds("train", -1, 1)
