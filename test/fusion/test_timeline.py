"""Laws of a sensor's timeline: any order of arrival will do, what is between is between, what is broken is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.fusion.filters import LowPass
from physai_ros.fusion.timeline import SensorTimeline, along_pose

SEEDS = st.integers(0, 2**32 - 1)


def timeline(**changes: object) -> SensorTimeline:
    return SensorTimeline(2, timeout=0.05, **changes)


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(12)), st.floats(0.0, 0.11))
def test_samples_may_come_in_any_order(order: list[int], instant: float) -> None:
    straight, shuffled = timeline(), timeline()
    values = [np.array([0.1 * i, -(i**2)]) for i in range(12)]
    shuffled.add(0.0, values[0])  # what is older than all is late, so the first comes first
    for i in range(12):
        assert straight.add(i / 100, values[i]) == ""
    for i in order:
        reason = shuffled.add(i / 100, values[i])
        assert reason == "" or i == 0
    for one, other in zip(straight.reading(instant), shuffled.reading(instant), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.0, 0.99))
def test_a_straight_line_is_read_exactly_wherever_it_was_sampled(seed: int, instant: float) -> None:
    generator = np.random.default_rng(seed)
    slope, offset = generator.normal(size=(2, 2))
    line = SensorTimeline(2, timeout=0.5)
    for stamp in np.unique([0.0, 1.0, *generator.uniform(0.0, 1.0, 20)]):
        line.add(float(stamp), offset + slope * stamp)
    values, age, reason = line.reading(instant)
    assert (age, reason) == (0.0, "")
    np.testing.assert_allclose(values, offset + slope * instant, atol=1e-9)


@pytest.mark.parametrize(
    ("stamp", "values", "kind"),
    [
        (1.0, [1.0, 1.0], "duplicate"),
        (0.5, [1.0, 1.0], "late"),
        (1.01, [np.nan, 0.0], "not finite"),
        (np.inf, [0.0, 0.0], "not finite"),
        (1.01, [0.0], "length"),
        (1.01, [9.0, 0.0], "jump"),
        (1.01, [0.0, -1.0], "units"),
    ],
)
def test_what_is_refused_is_named_and_changes_nothing(stamp, values, kind):
    line = timeline(largest_step=2.0, check=lambda v: "units: negative" if v[1] < 0.0 else "")
    line.add(1.0, np.zeros(2))
    before = line.reading(1.02)
    assert line.add(stamp, np.array(values)).partition(":")[0] == kind
    assert line.refused == {kind: 1}
    np.testing.assert_array_equal(line.reading(1.02).values, before.values)
    assert line.reading(1.02).reason == ""
    assert line.reading(1.2).reason  # then the last good one is too old, and the reason says why none came since
    assert line.reading(1.2).reason.partition(":")[0] == (kind if kind not in ("duplicate", "late") else "stale")


def test_what_stays_where_it_jumped_to_counts_and_a_clock_that_starts_again_does():
    line = timeline(largest_step=2.0)
    line.add(1.0, np.zeros(2))
    assert line.add(1.01, np.array([9.0, 0.0])).startswith("jump")
    assert line.add(1.02, np.array([9.1, 0.0])) == ""
    assert line.reading(1.02).values[0] == 9.1
    line.add(10.0, np.zeros(2))
    assert line.add(0.0, np.ones(2)) == ""
    assert line.reading(0.0).values.tolist() == [1.0, 1.0]


def test_without_samples_and_between_distant_ones_it_says_so():
    line = timeline()
    assert line.reading(0.0).reason.startswith("missing")
    line.add(0.0, np.zeros(2))
    line.add(0.9, np.ones(2))
    assert line.reading(0.5).reason.startswith("gap")
    assert line.reading(-0.5).reason.startswith("ahead")


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.0, 1.0))
def test_a_pose_between_two_turns_at_a_steady_rate_the_shorter_way(seed: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    before, after = (
        np.concatenate([generator.normal(size=3), q / np.linalg.norm(q)]) for q in generator.normal(size=(2, 4))
    )
    angle = lambda a, b: 2.0 * np.arccos(min(1.0, abs(a[3:] @ b[3:])))  # noqa: E731
    between = along_pose(before, after, share)
    assert np.linalg.norm(between[3:]) == pytest.approx(1.0)
    assert angle(before, between) == pytest.approx(share * angle(before, after), abs=1e-6)
    np.testing.assert_allclose(between[:3], before[:3] + share * (after[:3] - before[:3]))


@settings(max_examples=10, deadline=None)
@given(st.floats(2.0, 40.0), SEEDS)
def test_a_filter_makes_a_ramp_late_by_its_group_delay_and_leaves_what_stands(cutoff: float, seed: int) -> None:
    slope = np.random.default_rng(seed).normal(size=3)
    ramp, still = LowPass(cutoff, 100.0), LowPass(cutoff, 100.0)
    for cycle in range(400):
        out = ramp.filtered(slope * cycle / 100.0)
        np.testing.assert_allclose(still.filtered(slope), slope)
    np.testing.assert_allclose(out, slope * (3.99 - ramp.group_delay), atol=1e-6)
