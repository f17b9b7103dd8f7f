"""Training yields where control misses deadlines, and comes back."""

from hypothesis import given
from hypothesis import strategies as st

from physai_ros.training.throttle import LEAST, Throttle


def seconds(throttle: Throttle, missed: list[int], *, training: bool = True) -> list[float]:
    count, shares = 0, []
    throttle.update(0.0, training=training)
    for second, more in enumerate(missed, start=1):
        throttle.heard("/arm/safety_monitor", count)
        count += more
        throttle.heard("/arm/safety_monitor", count)
        shares.append(throttle.update(1.1 * second, training=training))
    return shares


@given(st.lists(st.integers(0, 5), max_size=60), st.floats(0.05, 1.0))
def test_the_share_stays_within_its_bounds_and_falls_just_where_deadlines_are_missed(missed, most):
    shares = [most, *seconds(Throttle(most), missed)]
    assert all(LEAST <= share <= most for share in shares)
    for before, after, count in zip(shares, shares[1:], missed, strict=False):
        assert after <= max(0.5 * before, LEAST) if count else after >= before


def test_it_comes_back_and_what_is_missed_while_nothing_trains_does_not_count():
    throttle = Throttle(0.8)
    assert seconds(throttle, [3])[-1] == 0.4
    for second in range(30):
        share = throttle.update(10.0 + 1.1 * second, training=True)
    assert share == 0.8
    assert seconds(Throttle(0.8), [5, 5, 5], training=False)[-1] == 0.8


def test_a_node_that_started_again_counts_from_zero():
    throttle = Throttle(1.0)
    throttle.update(0.0, training=True)
    throttle.heard("/arm/driver_node", 100)
    throttle.heard("/arm/driver_node", 0)
    assert throttle.update(1.1, training=True) == 1.0
    throttle.heard("/arm/driver_node", 2)
    assert throttle.update(2.2, training=True) == 0.5
