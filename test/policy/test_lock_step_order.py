"""Whatever comes first, states are handed out in order, each after the command that answered the one before."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.policy.lock_step import PICTURE_PATIENCE, LockStepOrder
from physai_ros.robot.state import RobotState


def state(sequence: int) -> RobotState:
    empty = np.zeros(0)
    return RobotState(0.0, sequence, (), *(empty,) * 9, 0.0, 0.0, 1.0)


@given(st.integers(0, 2**32), st.lists(st.booleans(), min_size=1, max_size=30))
def test_any_interleaving_gives_the_same_run(seed: int, by_policy: list[bool]) -> None:
    """States are in order and so are commands; how the two streams mix is up to the network."""
    shuffle = random.Random(seed)
    order, handed = LockStepOrder(), []
    order.begin(5)
    streams = [[(order.add_state, (state(5 + i),)) for i in range(len(by_policy))]]
    streams.append([(order.add_command, (5 + i, each)) for i, each in enumerate(by_policy)])
    while any(streams):
        take, values = shuffle.choice([stream for stream in streams if stream]).pop(0)
        take(*values)
        while (turn := order.next()) is not None:
            handed.append((turn[0].sequence, turn[1]))
    expected = [(5 + i, i > 0 and not by_policy[i - 1]) for i in range(len(by_policy))]
    assert handed == expected


def test_a_lost_command_is_given_up_when_the_driver_asks_again() -> None:
    order = LockStepOrder()
    order.begin(1)
    order.add_state(state(2))
    for _ in range(3):
        assert order.next() is None
        order.add_state(state(2))
    assert order.next()[0].sequence == 2


def test_what_belongs_to_a_state_is_waited_for_but_not_for_ever() -> None:
    order = LockStepOrder()
    order.begin(1)
    order.add_state(state(1))
    assert order.next(lambda _state: False) is None
    assert order.next(lambda each: each.sequence == 1)[0].sequence == 1
    order.add_command(1, True)
    order.add_state(state(2))
    for _ in range(PICTURE_PATIENCE):
        assert order.next(lambda _state: False) is None
        order.add_state(state(2))
    assert order.next(lambda _state: False)[0].sequence == 2


def test_a_driver_that_starts_again_begins_anew() -> None:
    order = LockStepOrder()
    order.begin(100)
    order.add_state(state(101))
    order.add_state(state(0))
    order.begin(0)
    assert order.next()[0].sequence == 0
    assert order.next() is None
