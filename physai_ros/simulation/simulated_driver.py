"""The driver of the simulated arm: what stands between `safe_command` and MuJoCo, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Protocol

import numpy as np

from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverState, ObjectStates, RobotState
from physai_ros.safety.command import SafeCommand
from physai_ros.safety.driver_guard import DriverGuard
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.tasks.task import Outcome, Scenario, Task, TaskTest

_FOREIGN = frozenset({"token", "not_claimed"})


class Arm(Protocol):
    """A simulated arm and its world, whoever simulates it: what `SimulatedArm` says, this says."""

    task: Task
    sequence: int

    @property
    def time(self) -> float:
        """Simulated time [s]."""

    def reset(self, scenario: Scenario, seed: int, physics: PhysicsParameters | None = None) -> None:
        """Put the world into a scenario's start state; raises ValueError where that cannot be."""

    def step(self, positions: np.ndarray, gripper_command: float) -> None:
        """Go on one control cycle."""

    def driver_state(self) -> DriverState:
        """What the driver measures."""

    def object_states(self) -> ObjectStates:
        """What perception sees."""

    def task_state(self) -> RobotState:
        """What the task's test judges."""

    def render(self, camera: str, height: int, width: int) -> np.ndarray:
        """A picture (height, width, 3) uint8."""

    def close(self) -> None:
        """Let go of the simulator."""


class SimulatedDriver:
    """One simulated arm behind a driver guard, with the task's test on the true state while an episode runs.

    In lock-step every instant is simulated time [s]; paced, the guard counts on the caller's steady clock.
    """

    def __init__(
        self,
        spec: RobotSpec,
        task: Task,
        physics: PhysicsParameters,
        seed: int,
        *,
        lock_step: bool = False,
        make_arm: Callable[[Task], Arm] | None = None,
    ) -> None:
        """`make_arm` makes the arm in a task's world; None: in MuJoCo, with `physics` and `seed`."""
        self.spec = spec
        self.guard = DriverGuard(spec)
        self._make_arm = make_arm or (lambda of: SimulatedArm(spec, of, self._physics, seed))
        self._physics = physics
        self.arm = self._make_arm(task)
        self.lock_step = lock_step
        self.episode_id = ""
        self.outcome: Outcome | None = None
        self._pressed = False
        self._test: TaskTest | None = None
        self._goal = np.zeros(0)
        self._start = 0
        self._tested = -1

    def randomize(self, values: Mapping[str, float]) -> None:
        """Change physics parameters by name from the next reset on.

        Raises:
            ValueError: a name is not known or a value out of range; nothing is changed.
        """
        self._physics = self._physics.with_values(values)

    def reset(self, task: Task, scenario: Scenario, seed: int, episode_id: str) -> int:
        """Put the world into a start state and return the sequence of its first measurement.

        Raises:
            ValueError: the scenario does not fit the task.
        """
        if task.name != self.arm.task.name:
            arm = self._make_arm(task)
            arm.sequence = self.arm.sequence
            self.arm.close()
            self.arm = arm
        self.arm.reset(scenario, seed, self._physics)
        self.guard.initialise(self.arm.driver_state().commanded_positions)
        self.episode_id = episode_id
        self.outcome = None
        self._test = task.test() if episode_id else None
        self._goal = self._physics.true_goal(scenario.goal)
        self._start = self.arm.sequence
        self._tested = -1
        return self.arm.sequence

    def measure(self) -> DriverState:
        """What the driver measures and does at this instant; asking twice gives the same numbers."""
        guard = self.guard
        state = copy(self.arm.driver_state())
        state.mode = guard.mode
        if self._pressed:
            state.fault, state.fault_text = DriverFault.ESTOP, "emergency stop; call resume"
        state.command_sequence = guard.command_sequence
        state.commands_refused = guard.commands_refused
        state.lock_step = self.lock_step
        return state

    def test(self) -> Outcome | None:
        """Outcome of the task's test at this instant where it says something new, else None."""
        if self._test is None or self._tested == self.arm.sequence:
            return None
        self._tested = self.arm.sequence
        before = self.outcome
        if before is not None and before.done:
            return None
        elapsed = (self.arm.sequence - self._start) * self.spec.control_period
        outcome = self._test.update(self.arm.task_state(), elapsed, self._goal)
        self.outcome = copy(outcome)
        self.outcome.evidence = dict(outcome.evidence)
        new = before is None or (before.done, before.stage) != (outcome.done, outcome.stage)
        return self.outcome if new else None

    def answers(self, command: SafeCommand) -> bool:
        """Whether a command lets lock-step time advance: it is our safety monitor's word on this very measurement.

        What is refused for another reason than its writer costs the cycle that it would cost a driver at its own rate.
        """
        if command.state_sequence != self.arm.sequence:
            return False
        return self.guard.accept(command, self.arm.time) or self.guard.last_refusal not in _FOREIGN

    def advance(self, now: float) -> None:
        """Track the set-point in force at `now` [s] for one control cycle."""
        self.arm.step(*self.guard.setpoint(now))

    def emergency_stop(self) -> None:
        """Stop along the verified stop, and latch until `resume`."""
        self._pressed = True
        self.guard.emergency_stop()

    def resume(self) -> tuple[bool, str]:
        """Leave the latch; returns whether it was done and a message."""
        done, message = self.guard.resume()
        self._pressed = self._pressed and not done
        return done, message
