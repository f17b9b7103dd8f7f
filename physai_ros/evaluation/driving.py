"""A scripted person at the controls: plays decisions, one a policy step, as absolute steps, one a control cycle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP, CartesianReference, leash_for
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.state import RobotState
from physai_ros.tasks.operator import ScriptedOperator
from physai_ros.tasks.task import Task, TaskAction

LEASE = 0.2  # [s] that one action holds; the longest that safety grants


@dataclass(frozen=True)
class DemonstrationNoise:
    """Disturbance of what a demonstrator does, none of what it meant.

    `spread` is the standard deviation as a share of the largest displacement a policy step; `persistence` in 0 ... 1
    correlates it from step to step. The arm is led astray, and the way back is demonstrated. In a delicate task it is
    that share of the displacement that was meant, as a hand shakes more the faster it goes. Sources: Laskey et al.,
    "DART: Noise injection for robust imitation learning", 2017; Harris and Wolpert, "Signal-dependent noise determines
    motor planning", 1998.
    """

    spread: float = 0.25
    persistence: float = 0.0

    def __post_init__(self) -> None:
        if not (self.spread >= 0.0 and 0.0 <= self.persistence < 1.0):
            raise ValueError(f"{self}: expected spread >= 0 and persistence from 0 to below 1")


class ScriptedDriver:
    """Drives by an operator who steps in, or as a demonstrator from the start.

    Give it the state as the person sees it, with true object poses, once a control cycle; it answers with an
    intervention while it drives, as a teleoperator's device would send it.
    """

    def __init__(self, kinematics: Kinematics, task: Task) -> None:
        self._kinematics = kinematics
        self._task = task
        self._axes = np.array(task.action_axes)
        self._scale = np.array(task.action_scale)
        self._period = kinematics.spec.control_period
        self._sequence = 0

    def start_episode(
        self,
        goal: tuple[float, ...],
        episode_id: str,
        start_sequence: int,
        generator: np.random.Generator,
        *,
        demonstrate: bool = False,
        noise: DemonstrationNoise | None = None,
    ) -> None:
        """Begin to watch an episode, or to demonstrate it, with `noise` on what is done (None: none).

        How the person acts is drawn from `generator`; for an episode of seed s it is `default_rng([s, 0x0B])`, in the
        graph and out of it.
        """
        self._goal = np.array(goal, dtype=float)
        self._episode_id = episode_id
        self._start = start_sequence
        self._generator = generator
        self._noise = noise
        self._disturbance = np.zeros(len(self._axes))
        self._operator = None if demonstrate else ScriptedOperator(self._task, generator)
        self._expert = self._task.expert(generator) if demonstrate else None
        self._name = "scripted_expert" if demonstrate else self._operator.name
        leash = leash_for(self._task.action_axes, self._task.action_scale)
        self._reference = CartesianReference(self._kinematics, CYCLES_PER_STEP, leash)
        self._driving = False
        self._step_index = -1
        self._intent = TaskAction(np.zeros(6), 1.0)
        self._answered: tuple[int, Intervention | None] = (-1, None)

    @property
    def reason(self) -> str:
        """Why the operator took over; empty while it watches, and for a demonstrator."""
        return self._operator.reason if self._operator is not None else ""

    def drive(self, state: RobotState) -> Intervention | None:
        """The intervention of this control cycle, None while the policy is left in control.

        A state that comes again gets the answer that it got before.
        """
        if state.sequence == self._answered[0]:
            return self._answered[1]
        step_index = (state.sequence - self._start) // CYCLES_PER_STEP
        if step_index != self._step_index:
            self._step_index = step_index
            self._decide(state)
        intervention = self._play(state) if self._driving else None
        self._answered = state.sequence, intervention
        return intervention

    def _decide(self, state: RobotState) -> None:
        pose = (
            self._reference.commanded_pose if self._driving else self._kinematics.tool_pose(state.commanded_positions)
        )
        if self._expert is not None:
            intent = self._expert.act(state, pose, self._goal)
        else:
            elapsed = (state.sequence - self._start) * self._period
            intent = self._operator.observe(state, pose, elapsed, self._goal)
        if intent is None:
            self._driving = False
            return
        if not self._driving:
            self._reference.reset(state.commanded_positions)
            self._driving = True
        self._intent = intent
        self._reference.begin_step(self._disturbed(intent.ee_delta))

    def _disturbed(self, ee_delta: np.ndarray) -> np.ndarray:
        """What is done (6,) where `ee_delta` (6,) was meant; never more than the largest displacement."""
        if self._noise is None:
            return ee_delta
        keep = self._noise.persistence
        fresh = self._generator.standard_normal(len(self._axes)) * self._noise.spread * np.sqrt(1.0 - keep**2)
        self._disturbance = keep * self._disturbance + fresh
        done = np.array(ee_delta)
        size = np.abs(done[self._axes] / self._scale).max() if self._task.delicate else 1.0
        astray = size * self._disturbance * self._scale
        done[self._axes] = np.clip(done[self._axes] + astray, -self._scale, self._scale)
        return done

    def _play(self, state: RobotState) -> Intervention:
        before = self._reference.positions
        positions = self._reference.advance(state.commanded_positions)
        self._sequence += 1
        action = RobotAction(
            stamp=state.stamp,
            sequence=self._sequence,
            state_sequence=state.sequence,
            joint_names=state.joint_names,
            reference_positions=positions,
            joint_delta=positions - before,
            ee_delta=self._intent.ee_delta,
            gripper_command=float(self._intent.gripper),
            episode_id=self._episode_id,
            observation_stamp=state.stamp,
            target_time=state.stamp + self._period,
        )
        return Intervention(stamp=state.stamp, enable=True, lease=LEASE, operator_name=self._name, action=action)
