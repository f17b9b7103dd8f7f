"""Policy, arm and task's test alone: a third of the time of a rollout with safety monitor, driver and recording."""

from __future__ import annotations

import numpy as np

from physai_ros.policy.acting import ActingNetwork
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.runtime import GRIPPER_DEADBAND, ActingPolicy
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP, CartesianReference, leash_for
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Scenario, Task

_JUDGED_EVERY = 5  # cycles


class BareRollout:
    """Says of an episode whether it succeeded: to compare policies by thousands of episodes.

    Nothing checks what the policy does, nothing of it is kept, and the task's test looks twenty times a second. What a
    robot would do is measured with the whole control cycle, by `evaluation.rollout.Rollout`.
    """

    def __init__(self, spec: RobotSpec, task: Task, physics: PhysicsParameters | None = None) -> None:
        self._task = task
        self._arm = SimulatedArm(spec, task, physics)
        kinematics = self._arm.kinematics
        self._axes, self._scale = list(task.action_axes), np.array(task.action_scale)
        self._encoder = ObservationEncoder(kinematics, task.features, task.action_axes, task.action_scale)
        self._reference = CartesianReference(
            kinematics, CYCLES_PER_STEP, leash_for(task.action_axes, task.action_scale)
        )
        self._period = spec.control_period

    def succeeds(self, policy: ActingNetwork | ActingPolicy, scenario: Scenario, seed: int) -> bool:
        """Outcome of the episode that starts in `scenario`, with the simulator's noise drawn from `seed`."""
        arm, task, reference = self._arm, self._task, self._reference
        arm.reset(scenario, seed)
        goal, test, gripper = np.array(scenario.goal), task.test(), 1.0
        true_goal = arm.physics.true_goal(goal)
        commanded = arm.task_state().commanded_positions
        self._encoder.reset()
        reference.reset(commanded)
        for cycle in range(round(task.time_limit / self._period) + 1):
            if cycle % _JUDGED_EVERY == 0:
                outcome = test.update(arm.task_state(), cycle * self._period, true_goal)
                if outcome.done:
                    return outcome.success
            if cycle % CYCLES_PER_STEP == 0:
                action = policy.predict(self._encoder.encode(arm.perceived_state(), goal)).actions[0]
                displacement = np.zeros(6)
                displacement[self._axes] = action[:-1] * self._scale
                reference.begin_step(displacement)
                if abs(action[-1]) > GRIPPER_DEADBAND:
                    gripper = float(np.sign(action[-1]))
            commanded = reference.advance(commanded)
            arm.step(commanded, gripper)
        return False
