"""Plays a policy: decides once a policy step, gives an absolute joint reference every control cycle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from physai_ros.policy.alarm import AlarmWatch
from physai_ros.policy.chunks import ChunkPlayer
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.exploration import Exploration
from physai_ros.policy.network import Prediction
from physai_ros.policy.observation import ObservationEncoder, TaskFeatures
from physai_ros.policy.predictor import AtOnce, Predictor, Question
from physai_ros.policy.registry import Policy, PolicyFileError, PolicyRegistry
from physai_ros.policy.sight import CameraMemory, Glimpse
from physai_ros.robot.action import ALARM_LEVEL, ActionChunk, RobotAction
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP, CartesianReference, leash_for
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState

GRIPPER_DEADBAND = 0.2
"""Gripper predictions nearer to zero than this leave the gripper as it is; the others open or close it wholly."""


_KEPT = 64  # chunks remembered, of which steps may still be played


class ActingPolicy(Protocol):
    """What the runtime needs of a policy: a name and decisions."""

    @property
    def version(self) -> str:
        """Name that travels with every action."""

    def predict(self, observation: np.ndarray) -> Prediction:
        """The decision for one observation (size,)."""


def warm_up(policy: Policy) -> None:
    """Have a policy decide on nothing, off the control cycle: what is done once is done then, and how long it takes."""
    architecture = policy.manifest.architecture
    observation = np.zeros(architecture.observation_size, dtype=np.float32)
    sight = () if not architecture.sees else (np.zeros(architecture.senses.image, dtype=np.uint8),)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        policy.predict(observation, *sight)
        times.append(time.perf_counter() - begin)
    policy.decision_time = float(np.median(times))
    policy.start_episode()


class PolicyRuntime:
    """Answers every robot state of an episode with one absolute step, however long the network takes.

    `predictor` says when a decision is there: at once by default, and then the first action of every prediction is
    played. Where it comes later, the step that is at hand by then is played, as `continuity` says (`policy.chunks`); a
    step of which nothing is known yet holds, and begins late, over what is left of it, if its decision still comes.

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
        cameras: CameraMemory | None = None,
        predictor: Predictor | None = None,
        continuity: str = "none",
    ) -> None:
        self._predictor = predictor or AtOnce()
        self._player = ChunkPlayer(continuity)
        self._spec = spec
        self._axes = np.array(action_axes, dtype=int)
        self._scale = np.array(action_scale, dtype=float)
        self._encoder = ObservationEncoder(kinematics, task_features, action_axes, action_scale)
        self._reference = CartesianReference(kinematics, cycles_per_step, leash_for(action_axes, action_scale))
        self._cycles = cycles_per_step
        self._sequence = 0
        self._chunk_id = 0
        self._watch: AlarmWatch | None = None
        self.cameras = cameras or CameraMemory()  # filled by whoever hears the cameras
        self.glimpse: Glimpse | None = None  # what the newest decision saw; None where the policy does not see
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

    @property
    def senses(self) -> EncoderShape | None:
        """How the policy in force divides its senses, where it sees; None where it does not."""
        if not isinstance(self.policy, Policy) or not self.policy.manifest.architecture.sees:
            return None
        return self.policy.manifest.architecture.senses

    @property
    def needs_objects(self) -> bool:
        """Whether the policy in force looks at where objects are."""
        return not isinstance(self.policy, Policy) or self.policy.manifest.architecture.needs_objects

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
        warm_up(policy)
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
        self._predictor.forget()
        self._player.forget()
        self._kept: dict[int, ActionChunk] = {}
        self._played: ActionChunk | None = None  # the chunk that the step at hand is from
        self._index = 0
        self._playing = False
        self.underruns = 0  # policy steps of this episode of which nothing was known in time
        self._step_index = self._dropped = -1
        self._watch = None
        self._uncertainty = float("nan")
        self._restart = True
        self._ee_delta = np.zeros(6)
        self._gripper: float | None = None
        self._answer: RobotAction | None = None

    def decides_at(self, state: RobotState) -> bool:
        """Whether this state begins a policy step that was not decided on yet."""
        return (state.sequence - self._start_sequence) // self._cycles != self._step_index

    def interrupt(self) -> None:
        """Drop what is being played: the next step starts from the set-point in force.

        Called on a hold or while an operator is in control. Observation goes on, so that the policy knows what was done
        when it is its turn again.
        """
        self._restart = True
        self._ee_delta = np.zeros(6)
        self._player.forget()
        self._dropped = self._step_index  # what was asked up to here is answered, but not played

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
        if self.decides_at(state):
            self._begin_step(state)
        self._take(state)
        if not self._playing:
            self._play(state)
        positions = self._reference.advance(state.commanded_positions)
        chunk = self._played
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
            observation_stamp=state.stamp if chunk is None else chunk.observation_stamp,
            target_time=state.stamp + self._spec.control_period,
            chunk_id=0 if chunk is None else chunk.chunk_id,
            step=self._index,
            policy_version=self.policy.version,
            value=float("nan") if self._chunk is None else self._chunk.value,
            uncertainty=self._uncertainty,
        )
        return self._answer

    def _begin_step(self, state: RobotState) -> None:
        """Ask for the decision of a new policy step."""
        assert self.policy is not None
        if not self._playing and self._chunk is not None:
            self.underruns += 1
        self._take(state)
        self._step_index = (state.sequence - self._start_sequence) // self._cycles
        self._playing = False
        self._observation = self._encoder.encode(state, self._goal)
        sight = self._look(state)
        stamp = state.stamp - (0.0 if self.glimpse is None else self.glimpse.oldest_age)
        question = Question(self._step_index, self._observation, sight, stamp, state.sequence)
        self._predictor.ask(self.policy, question, state.stamp)

    def _take(self, state: RobotState) -> None:
        """Take in what was decided meanwhile; what another policy decided is of no use."""
        assert self.policy is not None
        for question, prediction, version in self._predictor.answers(state.stamp):
            if version != self.policy.version:
                continue
            self._uncertainty = self._judge(prediction)
            actions = prediction.actions
            if self.exploration is not None:
                actions = self.exploration.disturbed(actions)
            self._chunk_id += 1
            self._chunk = ActionChunk(
                stamp=state.stamp,
                chunk_id=self._chunk_id,
                state_sequence=question.state_sequence,
                step_duration=self._cycles * self._spec.control_period,
                ee_deltas=np.stack([self._displacement(action) for action in actions]),
                gripper_commands=actions[:, -1].copy(),
                episode_id=self._episode_id,
                observation_stamp=question.observation_stamp,
                policy_version=version,
                value=prediction.value,
                uncertainty=self._uncertainty,
            )
            if question.step > self._dropped:
                self._player.add(question.step, actions, self._chunk_id, self._step_index)
            self._kept[self._chunk_id] = self._chunk
            self._kept.pop(self._chunk_id - _KEPT, None)

    def _play(self, state: RobotState) -> None:
        """Begin to play what is known of this policy step, over what is left of it; hold where nothing is known."""
        played = self._player.play(self._step_index)
        if played is None:
            self._ee_delta = np.zeros(6)
            return
        self._playing = True
        self._played, self._index = self._kept[played.chunk], played.index
        self._ee_delta = self._displacement(played.action)
        if abs(played.action[-1]) > GRIPPER_DEADBAND:
            self._gripper = float(np.sign(played.action[-1]))
        # What this very state was decided on has a whole step before it, even where states before it were lost.
        at_once = self._played.state_sequence == state.sequence
        gone = 0 if at_once else (state.sequence - self._start_sequence) % self._cycles
        self._reference.begin_step(self._ee_delta, self._cycles - gone)

    def _displacement(self, action: np.ndarray) -> np.ndarray:
        ee_delta = np.zeros(6)
        ee_delta[self._axes] = action[:-1] * (self._scale * self.speed)
        return ee_delta

    def _look(self, state: RobotState) -> tuple[np.ndarray, np.ndarray] | tuple[()]:
        """Image and which of its pictures are seen, for a policy that sees; of those here only a registry's can."""
        self.glimpse, senses = None, self.senses
        if senses is None:
            return ()
        if state.rgb_image is not None:
            return state.rgb_image, np.ones(len(senses.sights), dtype=bool)
        self.glimpse = self.cameras.at(state.stamp, senses)
        return self.glimpse.image, self.glimpse.seen

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
