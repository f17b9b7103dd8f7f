"""Plays a policy: decides once a policy step, gives an absolute joint reference every control cycle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from physai_ros.policy.alarm import AlarmWatch
from physai_ros.policy.exploration import Exploration
from physai_ros.policy.network import Prediction
from physai_ros.policy.observation import ObservationEncoder, TaskFeatures
from physai_ros.policy.registry import Policy, PolicyFileError, PolicyRegistry
from physai_ros.robot.action import ALARM_LEVEL, ActionChunk, RobotAction
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP, CartesianReference
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState

GRIPPER_DEADBAND = 0.2
"""Gripper predictions nearer to zero than this leave the gripper as it is; the others open or close it wholly."""


_LEASH = 0.05  # [m] by which a commanded pose may lead the set-point


def leash_for(action_axes: Sequence[int], action_scale: Sequence[float]) -> float:
    """Leash [m] that a task needs, given its largest displacements a policy step: longer than one such step."""
    steps = [scale for axis, scale in zip(action_axes, action_scale, strict=True) if axis < 3]
    return max([_LEASH, *(1.5 * step for step in steps)])


class ActingPolicy(Protocol):
    """What the runtime needs of a policy: a name and decisions."""

    @property
    def version(self) -> str:
        """Name that travels with every action."""

    def predict(self, observation: np.ndarray) -> Prediction:
        """The decision for one observation (size,)."""


class PolicyRuntime:
    """Answers every robot state of an episode with one absolute step.

    Policy steps are counted from the episode's start sequence, so that whoever reads the recording finds the states the
    policy decided on. A decision is taken at the first state of a policy step that arrives; a state that is lost costs
    one cycle. A state that comes again gets the answer it got before.
    """

    def __init__(
        self,
        spec: RobotSpec,
        kinematics: Kinematics,
        task_features: TaskFeatures,
        action_axes: Sequence[int],
        action_scale: Sequence[float],
        policy: ActingPolicy | None = None,
        *,
        cycles_per_step: int = CYCLES_PER_STEP,
    ) -> None:
        self._spec = spec
        self._axes = np.array(action_axes, dtype=int)
        self._scale = np.array(action_scale, dtype=float)
        self._encoder = ObservationEncoder(kinematics, task_features, action_axes, action_scale)
        self._reference = CartesianReference(kinematics, cycles_per_step, leash_for(action_axes, action_scale))
        self._cycles = cycles_per_step
        self._sequence = 0
        self._chunk_id = 0
        self._watch: AlarmWatch | None = None
        self.policy = policy
        self.speed = 1.0  # share of what the policy asks for, in 0 ... 1, while it is tried out
        self.exploration: Exploration | None = None  # of the episode that runs; whoever starts it may set one
        self.start_episode(np.zeros(0), "", 0)

    @property
    def last_chunk(self) -> ActionChunk | None:
        """The newest prediction of this episode, for recording and display; never executed from here."""
        return self._chunk

    @property
    def last_observation(self) -> np.ndarray | None:
        """Observation (size,) that the newest prediction was made from."""
        return self._observation

    @property
    def alarm_cause(self) -> str:
        """Name of the score that the newest level of the alarm comes from, empty without an alarm."""
        return self._watch.cause if self._watch is not None else ""

    def load(self, registry: PolicyRegistry, version: str) -> None:
        """Act by a version of the registry from the next decision on.

        Raises:
            PolicyFileError: it is missing, corrupted, or made for other action axes; the policy in force stays.
        """
        policy = registry.load(version)
        manifest = policy.manifest
        if manifest.action_axes != tuple(self._axes) or not np.allclose(manifest.action_scale, self._scale):
            raise PolicyFileError(
                f"policy {version} was trained for task '{manifest.task}' with action axes {manifest.action_axes} and "
                f"scale {manifest.action_scale}; this task has {tuple(self._axes.tolist())} and "
                f"{tuple(self._scale.tolist())}"
            )
        policy.predict(np.zeros(manifest.architecture.observation_size, dtype=np.float32))  # warms up, off the cycle
        policy.start_episode()
        self.policy = policy

    def start_episode(self, goal: Sequence[float] | np.ndarray, episode_id: str, start_sequence: int) -> None:
        """Forget the episode before and count policy steps from `start_sequence`."""
        self._goal = np.array(goal, dtype=float)
        self._episode_id = episode_id
        self._start_sequence = start_sequence
        self._encoder.reset()
        if isinstance(self.policy, Policy):
            self.policy.start_episode()
        self._chunk: ActionChunk | None = None
        self._observation: np.ndarray | None = None
        self._prediction: Prediction | None = None
        self._step_index = -1
        self._watch = None
        self._uncertainty = float("nan")
        self._restart = True
        self._ee_delta = np.zeros(6)
        self._gripper: float | None = None
        self._answer: RobotAction | None = None

    def interrupt(self) -> None:
        """Drop what is being played: the next step starts from the set-point in force.

        Called on a hold or while an operator is in control. Observation goes on, so that the policy knows what was done
        when it is its turn again.
        """
        self._restart = True
        self._ee_delta = np.zeros(6)

    def act(self, state: RobotState) -> RobotAction:
        """The step of this control cycle.

        Raises:
            RuntimeError: no policy is loaded.
        """
        if self._answer is not None and self._answer.state_sequence == state.sequence:
            return self._answer
        if self.policy is None:
            raise RuntimeError("no policy is loaded: load a version of the registry before acting")
        if self._restart:
            self._reference.reset(state.commanded_positions)
            self._gripper = state.gripper_command
            self._restart = False
        before = self._reference.positions
        step_index = (state.sequence - self._start_sequence) // self._cycles
        if step_index != self._step_index:
            self._step_index = step_index
            self._decide(state)
        positions = self._reference.advance(state.commanded_positions)
        assert self._prediction is not None
        assert self._chunk is not None
        self._sequence += 1
        self._answer = RobotAction(
            stamp=state.stamp,
            sequence=self._sequence,
            state_sequence=state.sequence,
            joint_names=state.joint_names,
            reference_positions=positions,
            joint_delta=positions - before,
            ee_delta=self._ee_delta,
            gripper_command=float(self._gripper),
            episode_id=self._episode_id,
            observation_stamp=self._chunk.observation_stamp,
            target_time=state.stamp + self._spec.control_period,
            chunk_id=self._chunk.chunk_id,
            step=0,
            policy_version=self.policy.version,
            value=self._prediction.value,
            uncertainty=self._uncertainty,
        )
        return self._answer

    def _decide(self, state: RobotState) -> None:
        assert self.policy is not None
        self._observation = self._encoder.encode(state, self._goal)
        # Of the policies here only those of a registry can see.
        picture = (state.rgb_image,) if isinstance(self.policy, Policy) else ()
        self._prediction = self.policy.predict(self._observation, *picture)
        self._uncertainty = self._judge(self._prediction)
        actions = self._prediction.actions
        if self.exploration is not None:
            actions = self.exploration.disturbed(actions)
        ee_deltas = np.zeros((len(actions), 6))
        ee_deltas[:, self._axes] = actions[:, :-1] * (self._scale * self.speed)
        self._ee_delta = ee_deltas[0]
        if abs(actions[0, -1]) > GRIPPER_DEADBAND:
            self._gripper = float(np.sign(actions[0, -1]))
        self._reference.begin_step(self._ee_delta)
        self._chunk_id += 1
        self._chunk = ActionChunk(
            stamp=state.stamp,
            chunk_id=self._chunk_id,
            state_sequence=state.sequence,
            step_duration=self._cycles * self._spec.control_period,
            ee_deltas=ee_deltas,
            gripper_commands=actions[:, -1].copy(),
            episode_id=self._episode_id,
            observation_stamp=state.stamp,
            policy_version=self.policy.version,
            value=self._prediction.value,
            uncertainty=self._uncertainty,
        )

    def _judge(self, prediction: Prediction) -> float:
        """The level of the policy's alarm, where one was calibrated; else the spread, which by itself never alarms.

        Actions lie in -1 ... 1, so that members that differ by more than 1 say no more than that they do not know.
        """
        alarm = self.policy.alarm if isinstance(self.policy, Policy) else None
        if alarm is None:
            self._watch = None
            return min(prediction.uncertainty, ALARM_LEVEL)
        if self._watch is None or self._watch.alarm is not alarm:
            self._watch = AlarmWatch(alarm)
        return self._watch.update(prediction)
