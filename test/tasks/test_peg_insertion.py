"""The peg and its hole: the geometry is as said, the expert solves it with a gentle hand, the test judges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of
from physai_ros.experience.episode import Purpose
from physai_ros.robot.rotation import rotation_matrix
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.peg_insertion import CLEARANCE, INSERTED, LENGTH, WIDTH, inserted

TASK = load_task("physai_ros.tasks.peg_insertion:PegInsertion")
PARAMETERS = st.fixed_dictionaries({name: st.floats(low, high) for name, (low, high) in TASK.scenario_bounds.items()})


@given(PARAMETERS)
def test_the_hole_is_wider_than_the_peg_by_the_clearance(parameters):
    scenario = TASK.scenario(parameters)
    goal = np.array(scenario.goal)
    sizes = {item.name: np.array(item.size) for item in TASK.objects}
    along = rotation_matrix(np.array(scenario.object_poses["wall_front"][3:]))
    for axis, names in enumerate((("wall_front", "wall_back"), ("wall_left", "wall_right"))):
        near, far = (np.array(scenario.object_poses[name][:3]) for name in names)
        gap = abs((near - far) @ along[:, axis]) - sizes[names[0]][axis]
        assert gap == pytest.approx(WIDTH + CLEARANCE)
        np.testing.assert_allclose(0.5 * (near + far)[:2], goal[:2], atol=1e-9)


def test_what_counts_as_inserted():
    goal = np.array([0.5, 0.1, 0.03, 0.0])

    def standing(depth: float, aside: float = 0.0) -> np.ndarray:
        return np.array([0.5 + aside, 0.1, goal[2] - depth + 0.5 * LENGTH, 1.0, 0.0, 0.0, 0.0])

    assert inserted(standing(INSERTED + 0.001), goal)
    assert not inserted(standing(INSERTED - 0.001), goal)
    assert not inserted(standing(INSERTED + 0.001, aside=0.01), goal)


@pytest.mark.parametrize("noise", [None, DemonstrationNoise()])
def test_the_expert_solves_it_with_a_gentle_hand(noise):
    rollout = Rollout(RobotSpec.load("fr3_sim"), TASK)
    for seed in range(2):
        episode = rollout.run(scenario_of(TASK, seed), seed, Purpose.DEMONSTRATE, noise=noise)
        assert episode.outcome.success, episode.outcome
        assert episode.outcome.evidence["peak_force"] < TASK.force_budget * (0.5 if noise is None else 0.9)
