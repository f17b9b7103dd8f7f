"""Which sample makes a state, and from which objects: the order of arrival changes nothing that it should not."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.fusion.senses import Senses
from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState, ObjectStates

SPEC = RobotSpec.load("fr3_sim")
KINEMATICS = Kinematics(SPEC)
HOME, STILL = SPEC.home_positions, np.zeros(7)


def senses() -> Senses:
    return Senses(StateFuser(SPEC, KINEMATICS, ("cube",)))


def sample(sequence: int, stamp: float | None = None, *, lock_step: bool = False) -> DriverState:
    stamp = sequence / 100 if stamp is None else stamp
    return DriverState(stamp, sequence, SPEC.joint_names, HOME, STILL, STILL, HOME, lock_step=lock_step)


def objects(sequence: int, stamp: float | None = None) -> ObjectStates:
    stamp = sequence / 100 if stamp is None else stamp
    position = np.array([[0.4, 0.0, sequence / 1000]])
    return ObjectStates(stamp, sequence, ("cube",), position, np.array([[1.0, 0.0, 0.0, 0.0]]))


def height(state: object) -> float:
    """What the state says of the cube, by which it tells whose objects it was made of."""
    return round(1000 * state.object_poses["cube"][2])


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(1, 11)))
def test_the_newest_objects_count_in_whatever_order_they_come(order: list[int]) -> None:
    made = senses()
    for sequence in order:
        made.take_driver_state(sample(10))  # once: then it comes again
        made.take_objects(objects(sequence))
    assert height(made.take_driver_state(sample(11))) == 10


def test_objects_of_a_clock_ahead_or_started_again_do_not_stand_in_the_way() -> None:
    made = senses()
    made.take_driver_state(sample(1000))
    made.take_objects(objects(1, stamp=10.5))  # ahead of the joint sample
    made.take_objects(objects(2, stamp=10.0))
    assert height(made.take_driver_state(sample(1001))) == 2
    made.take_objects(objects(3, stamp=1.0))
    state = made.take_driver_state(sample(1002))
    assert state.modality("objects").reason.startswith("stamp is")
    assert height(made.take_driver_state(sample(1, stamp=1.01))) == 3  # the driver's clock started again as well


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_in_lock_step_a_state_is_made_of_one_instant_whichever_comes_first(objects_first: list[bool]) -> None:
    made = senses()
    for sequence, first in enumerate(objects_first, start=1):
        for _ in range(2):  # what is not answered is asked again
            one = made.take_objects(objects(sequence)) if first else None
            two = made.take_driver_state(sample(sequence, lock_step=True))
            three = None if first else made.take_objects(objects(sequence))
            (state,) = [each for each in (one, two, three) if each is not None][-1:]
            assert (state.sequence, height(state)) == (sequence, sequence)


def test_a_sample_that_comes_again_or_late_makes_no_state_and_a_driver_that_restarted_does() -> None:
    made = senses()
    answered = [n for n in (20, 20, 21, 19, 20, 22, 3, 4) if made.take_driver_state(sample(n)) is not None]
    assert answered == [20, 21, 22, 3, 4]
    made.reset()
    assert made.take_driver_state(sample(4)) is not None
