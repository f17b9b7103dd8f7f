"""State, policy, safety monitor, guard and driver of one arm in one process, for tests of what reaches the arm."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from physai_ros.drivers.activation import ActivationChecks
from physai_ros.drivers.driver import Driver
from physai_ros.drivers.guarded_driver import GuardedDriver
from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.policy.runtime import PolicyRuntime
from physai_ros.robot.action import RobotAction
from physai_ros.robot.hold import hold_action
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverFault, DriverState, RobotState
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.supervisor import SafetySupervisor
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Outcome

TASK = load_task("reach")


class Chain:
    """An arm that a policy drives as in the graph.

    `permitted` holds the set-points that the safety monitor permitted, each followed by the stop that may be played
    after it; `set_points` and `measured` what the guard passed on and what the arm measured, one row a cycle.
    """

    def __init__(self, driver: Driver, spec: RobotSpec, registry: Path, **checks: str) -> None:
        self.driver, self.spec = driver, spec
        self.guarded = GuardedDriver(driver, spec, state_timeout=1.0)
        self.kinematics = Kinematics(spec)
        self._checks = ActivationChecks(clock_tolerance=1.0, **checks)
        self._fuser = StateFuser(spec, self.kinematics, [])
        limits = SafetyLimits.from_spec(spec, **checks)
        self._safety = SafetySupervisor(spec, limits, self.kinematics)
        policies = PolicyRegistry(registry)
        policy = policies.load(policies.current()[0])
        self._runtime = PolicyRuntime(spec, self.kinematics, TASK.features, TASK.action_axes, TASK.action_scale, policy)
        self.permitted: list[np.ndarray] = []
        self.set_points: list[np.ndarray] = []
        self.measured: list[np.ndarray] = []

    def start(self) -> None:
        """Connect, claim, resume, and go to where episodes begin."""
        state = self.guarded.start(self._checks, time.monotonic(), time.time())
        self.permitted.append(state.commanded_positions)
        self._token = self.guarded.guard.claim("test")
        self._safety.activate(state)
        assert self.guarded.resume()[0] and self._safety.resume()[0]
        home = self.spec.home_positions
        for fused in self._cycles(10.0):
            way = home - fused.commanded_positions
            if np.abs(way).max() < 0.005:
                return
            action = hold_action(fused, fused.sequence, self.spec.control_period)
            action.reference_positions = fused.commanded_positions + np.clip(0.03 * way, -0.006, 0.006)
            self._permit(action)
        raise AssertionError("not at home within 10 s")

    def reach(self, goal: np.ndarray, seconds: float) -> Outcome:
        """Outcome of at most so long with the policy; the arm comes to rest in the end."""
        test, elapsed, outcome = TASK.test(), 0.0, Outcome()
        for fused in self._cycles(seconds):
            if not elapsed:
                self._runtime.start_episode(goal, "episode", fused.sequence)
            self._permit(self._runtime.act(fused))
            elapsed += self.spec.control_period
            outcome = test.update(fused, elapsed, goal)
            if outcome.done:
                break
        until = time.monotonic() + 1.0
        while time.monotonic() < until:  # along the last stop
            self._cycle()
            time.sleep(0.5 * self.spec.control_period)
        return outcome

    def _cycles(self, seconds: float) -> Iterator[RobotState]:
        """The robot's state once a control cycle of its clock, or of ours where it has none."""
        period, due = self.spec.control_period, self._clock()
        for _ in range(round(seconds / period)):
            while self._clock() < due:
                assert self.driver.read().fault == DriverFault.NONE, self.driver.read().fault_text
            due = max(due + period, self._clock() + period / 2)
            state = self._cycle()
            yield self._fuser.fuse(state, None, state.stamp)

    def _cycle(self) -> DriverState:
        self._state = state = self.guarded.cycle(time.monotonic())
        assert state.fault == DriverFault.NONE, state.fault_text
        self.set_points.append(state.commanded_positions)
        self.measured.append(state.joint_positions)
        return state

    def _permit(self, action: RobotAction) -> None:
        command = self._safety.decide(self._state, action, None, time.monotonic())
        command.token = self._token
        assert self.guarded.accept(command, time.monotonic()), self.guarded.guard.last_refusal
        self.permitted += [command.positions, *command.stop.positions]

    def _clock(self) -> float:
        robots = getattr(self.driver, "robot_time", math.nan)
        return time.monotonic() if math.isnan(robots) else robots

    def check(self, told: np.ndarray, expected: np.ndarray | None = None, tolerance: float = 0.0) -> None:
        """See that what passed the guard was permitted, and that what the arm was `told` is what is `expected` of it.

        Args:
            told: (m, k), in its order; a row may have come again, or been overtaken.
            expected: (cycles, k), the set-points where nothing else is said.
            tolerance: in the units of both.
        """
        set_points = np.array(self.set_points)
        assert _rows_of(set_points, np.array(self.permitted), 0.0)
        assert len(told) > 0.5 * len(set_points)
        assert _rows_of(told, set_points if expected is None else expected, tolerance)


def _rows_of(rows: np.ndarray, of: np.ndarray, tolerance: float) -> bool:
    """Whether every row is one of the others, in their order."""
    at = 0
    for row in rows:
        while at < len(of) and not (np.abs(of[at] - row) <= tolerance).all():
            at += 1
        if at == len(of):
            return False
    return True
