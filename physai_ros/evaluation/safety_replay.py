"""What the safety monitor would say to a candidate on recorded states, before the candidate is let near an arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from physai_ros.experience.episode import Episode
from physai_ros.policy.registry import Policy
from physai_ros.policy.runtime import PolicyRuntime
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP
from physai_ros.robot.command import CommandSource
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.rotation import quaternion_wxyz
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode, DriverState, RobotState
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.supervisor import SafetySupervisor
from physai_ros.tasks.task import Task

_HARMLESS = frozenset({"acceleration", "jerk"})
"""Following a step a little later restricts neither where the arm goes nor how fast."""
_STEPS = 2  # policy steps that are played from each recorded state


@dataclass(frozen=True)
class ReplayReport:
    """What the safety monitor made of a candidate's proposals.

    Attributes:
        states: recorded states that it was let loose from.
        decisions: control cycles in which it proposed something.
        restricted_share: of these, the share in which a limit changed where or how fast the arm would have gone.
        refused_share: of these, the share in which nothing was permitted.
        reasons: why, with how often.
        problem: why the candidate must not drive; empty if nothing speaks against it.
    """

    states: int
    decisions: int
    restricted_share: float
    refused_share: float
    reasons: dict[str, int]
    problem: str = ""


class SafetyReplay:
    """An arm without physics that goes where it is permitted to, set up in recorded states of a task.

    It shows what a policy asks for where the arm has really been; what the world does in answer it does not show, that
    is what the trials are for.
    """

    def __init__(self, spec: RobotSpec, task: Task) -> None:
        self._spec, self._kinematics = spec, Kinematics(spec)
        self._runtime = PolicyRuntime(spec, self._kinematics, task.features, task.action_axes, task.action_scale)
        self._supervisor = SafetySupervisor(spec, SafetyLimits.from_spec(spec), self._kinematics)

    def run(self, policy: Policy, episodes: Iterable[Episode], states: int = 60) -> ReplayReport:
        """Report on a policy from at most so many states, spread evenly over the episodes."""
        starts = _spread(list(episodes), states)
        decisions = restricted = refused = 0
        reasons: Counter[str] = Counter()
        self._runtime.policy = policy
        for state, goal in starts:
            for command_reasons, permitted in self._play(state, goal):
                decisions += 1
                telling = [reason for reason in command_reasons if reason not in _HARMLESS]
                reasons.update(telling)
                refused += not permitted
                restricted += permitted and bool(telling)
        total = max(decisions, 1)
        return ReplayReport(len(starts), decisions, restricted / total, refused / total, dict(reasons))

    def _play(self, start: RobotState, goal: np.ndarray) -> Iterable[tuple[tuple[str, ...], bool]]:
        """Reasons and whether the policy was followed, cycle by cycle."""
        positions, gripper = np.array(start.commanded_positions), start.gripper_command
        # Sequence 0 is the state in which the monitor comes up; the policy's first step begins with 1.
        self._supervisor.activate(self._driver_state(0, positions, gripper))
        self._supervisor.resume()
        self._runtime.start_episode(goal, "", 1)
        for sequence in range(1, 1 + _STEPS * CYCLES_PER_STEP):
            driver = self._driver_state(sequence, positions, gripper)
            proposal = self._runtime.act(self._robot_state(start, driver))
            command = self._supervisor.decide(driver, proposal, None, driver.stamp)
            positions, gripper = command.positions, command.gripper_command
            permitted = command.source == CommandSource.POLICY
            if not permitted:
                self._runtime.interrupt()
            yield command.reasons, permitted

    def _driver_state(self, sequence: int, positions: np.ndarray, gripper: float) -> DriverState:
        count = len(positions)
        return DriverState(
            stamp=sequence * self._spec.control_period,
            sequence=sequence,
            joint_names=self._spec.joint_names,
            joint_positions=positions,
            joint_velocities=np.zeros(count),
            joint_torques=np.zeros(count),
            commanded_positions=positions,
            wrench_valid=True,
            gripper_command=gripper,
            mode=DriverMode.ACTIVE,
            command_timeout=self._spec.command_timeout,
        )

    def _robot_state(self, start: RobotState, driver: DriverState) -> RobotState:
        """The recorded state with the arm where it went since."""
        pose = self._kinematics.tool_pose(driver.joint_positions)
        state = copy(start)
        state.stamp, state.sequence = driver.stamp, driver.sequence
        state.joint_positions = state.commanded_positions = driver.joint_positions
        state.ee_position, state.ee_orientation = pose.position, quaternion_wxyz(pose.rotation)
        state.gripper_command = driver.gripper_command
        return state


def judged(
    report: ReplayReport, current: ReplayReport | None, *, tolerance: float = 0.2, most_refused: float = 0.05
) -> ReplayReport:
    """The report with its problem: it is refused too often, or restricted by `tolerance` more than the current policy.

    Without a current policy to compare with, being restricted in half of all cycles is too often.
    """
    most = 0.5 if current is None else current.restricted_share + tolerance
    refusals = most_refused if current is None else max(most_refused, current.refused_share + 0.01)
    worst = max(report.reasons, key=report.reasons.get, default="none")
    problem = ""
    if report.refused_share > refusals:
        problem = (
            f"the safety monitor refuses {report.refused_share:.0%} of its proposals on recorded states, at most "
            f"{refusals:.0%} is allowed; most often: {worst}"
        )
    elif report.restricted_share > most:
        problem = (
            f"the safety monitor restricts {report.restricted_share:.0%} of its proposals on recorded states, at most "
            f"{most:.0%} is allowed; most often: {worst}"
        )
    return replace(report, problem=problem)


def _spread(episodes: list[Episode], states: int) -> list[tuple[RobotState, np.ndarray]]:
    """States with the goal of their episode, evenly over all samples; none that is not finite."""
    lengths = np.array([len(episode) for episode in episodes], dtype=int)
    if not lengths.sum():
        return []
    ends = np.cumsum(lengths)
    found = []
    for place in np.unique(np.linspace(0, ends[-1] - 1, states).astype(int)):
        which = int(np.searchsorted(ends, place, side="right"))
        episode = episodes[which]
        state = episode.state(int(place - (ends[which] - lengths[which])))
        if np.isfinite(state.commanded_positions).all():
            found.append((state, np.array(episode.context.goal)))
    return found
