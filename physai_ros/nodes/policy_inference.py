"""Plays the policy: one absolute step for every `robot_state` of an episode."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from physai_ros import msg
from physai_ros.experience.episode import EpisodeContext, Phase, Purpose
from physai_ros.policy.activation import PolicyFileError, read_activation
from physai_ros.policy.chunks import CONTINUITY
from physai_ros.policy.exploration import Exploration
from physai_ros.policy.loader import PolicyLoader
from physai_ros.policy.lock_step import LockStepOrder
from physai_ros.policy.predictor import AsQuick, Predictor
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.policy.runtime import ActingPolicy, PolicyRuntime, warm_up
from physai_ros.policy.runtimes import PERMITTED, REDUCED, RUNTIMES, acting_by
from physai_ros.policy.sight import CameraMemory
from physai_ros.robot.action import ALARM_LEVEL
from physai_ros.robot.hold import hold_action
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.lifecycle import ERROR, OK, WARN, ManagedNode, run
from physai_ros.ros.observations import pictures_of
from physai_ros.ros.parameters import parameter
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Task


@dataclass(frozen=True)
class Parameters:
    """Parameters of the inference."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task that the policy is for; `episode` may name another.")
    mode: str = parameter("paced", "As the driver's.", choices=("paced", "lock_step"))
    registry: str = parameter("registry", "Folder of the policy versions.")
    image_timeout: float = parameter(0.25, "Age at which a picture is not looked at [s].", minimum=0.001, maximum=10.0)
    wait_for_pictures: bool = parameter(
        False, "In lock-step: a decision of a policy that sees waits for the pictures of its own instant."
    )
    runtime: str = parameter(
        "auto",
        "What computes the network; auto: the quickest that agrees, by a trial. In lock-step always the same one.",
        choices=("auto", *RUNTIMES, *REDUCED),
    )
    precision: str = parameter(
        "full",
        "What auto may choose from; reduced: files of fp16 and int8 too, within 0.02 of the action scale.",
        choices=tuple(PERMITTED),
    )
    patience: float = parameter(
        0.25,
        "Paced: share of a control cycle that a decision may take; a slower network decides in a thread.",
        minimum=0.0,
        maximum=10.0,
    )
    continuity: str = parameter(
        "none", "What becomes of steps that an older prediction spoke of as well.", choices=CONTINUITY
    )
    threads: int = parameter(1, "Threads of the network.", minimum=1, maximum=64)
    exploration: float = parameter(
        0.0,
        "Spread of what the policy tries in training episodes, as a share of the action scale.",
        minimum=0.0,
        maximum=1.0,
    )


class PolicyInference(ManagedNode):
    """Acts while an episode runs; the version is fixed for the episode, but for a rollback."""

    node_name = "policy_inference"
    Parameters = Parameters

    def configure(self) -> None:
        """Build the runtime and begin to load the active version."""
        p = self.parameters
        torch.set_num_threads(p.threads)
        self._spec = RobotSpec.load(p.robot)
        self._kinematics = Kinematics(self._spec)
        self._registry = PolicyRegistry(p.registry)
        self._episode = EpisodeContext()
        self._cameras = CameraMemory(p.image_timeout)
        self._computed_by: dict[str, str] = {}
        # In lock-step simulated time waits for the network, so that what happens does not depend on how long it takes.
        patient = p.mode == "lock_step"
        self._predictor = AsQuick(float("inf") if patient else p.patience * self._spec.control_period)
        self._runtime: PolicyRuntime | None = None
        self._task: Task | None = None
        self._use_task(p.task)
        self._loader = PolicyLoader(self._load)
        self._actions = self.publisher(msg.RobotAction, "proposed_action", qos.CONTROL_WRITER)
        self._chunks = self.publisher(msg.ActionChunk, "action_chunk", qos.EVENT)
        # Lock-step waits for every message; paced, only the newest counts.
        profile = qos.RECORD if p.mode == "lock_step" else qos.CONTROL
        cycle = self.time_cycles(self._spec.control_period, self._on_state)
        self.cycle_times.paced = p.mode == "paced"
        self.subscribe(msg.RobotState, "robot_state", cycle, profile)
        self.subscribe(msg.Observation, "observation", self._on_observation, qos.SENSOR)
        self.subscribe(msg.SafeCommand, "safe_command", self._on_command, profile)
        self.subscribe(msg.EpisodeContext, "episode", self._on_episode, qos.LATCHED)
        self.subscribe(msg.PolicyUpdate, "policy_update", self._on_update, qos.LATCHED)
        self._forget()
        self._load_active()

    def activate(self) -> None:
        """Go on with the episode that runs, if one does."""
        self._begin()

    def deactivate(self) -> None:
        """Stop acting."""
        self._forget()

    def cleanup(self) -> None:
        """Stop the loader."""
        if hasattr(self, "_loader"):
            self._loader.close()
        if hasattr(self, "_predictor"):
            self._predictor.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Version in force and what could not be loaded."""
        if not self.active:
            return super().diagnose()
        version = self._runtime.policy.version if self._runtime.policy else "none"
        values = {
            "version": version,
            "actions": self._acted,
            "episode": self._episode.episode_id,
            "problem": self._problem,
            "runtime": self._computed_by.get(version, "reference"),
            "underruns": self._runtime.underruns,
        }
        if self._blind:
            return WARN, f"holds, cannot use {self._blind}", values
        if self._problem:
            return ERROR, self._problem, values
        glimpse = self._runtime.glimpse
        if glimpse is not None:
            values["picture_age"] = f"{glimpse.oldest_age:.3f}"
            if glimpse.reasons:
                unseen = "; ".join(f"camera {name}: {reason}" for name, reason in glimpse.reasons.items())
                return WARN, f"acts without {unseen}", values
        if self._answer is not None:
            values["uncertainty"] = self._answer.uncertainty
            if self._answer.uncertainty > ALARM_LEVEL:
                return WARN, f"out of distribution: {self._runtime.alarm_cause}", values
        return (OK, f"acts by {version}", values) if self._runtime.policy else (WARN, "no policy is active yet", values)

    def _forget(self) -> None:
        self._in_order = LockStepOrder() if self.parameters.mode == "lock_step" else None
        self._answer: msg.RobotAction | None = None
        self._version = ""
        self._begun = ""
        self._acted = 0
        self._acting = False
        self._problem = self._blind = ""

    def _use_task(self, name: str) -> None:
        if self._task is not None and name in {self._task_name, ""}:
            return
        task = load_task(name)
        policy = self._runtime.policy if self._runtime is not None else None
        self._task, self._task_name = task, name
        self._runtime = self._make_runtime(self._kinematics, policy, self._predictor)

    def _make_runtime(
        self, kinematics: Kinematics, policy: ActingPolicy | None = None, predictor: Predictor | None = None
    ) -> PolicyRuntime:
        task = self._task
        return PolicyRuntime(
            self._spec,
            kinematics,
            task.features,
            task.action_axes,
            task.action_scale,
            policy,
            cameras=self._cameras,
            predictor=predictor,
            continuity=self.parameters.continuity,
        )

    def _load(self, version: str) -> ActingPolicy:
        """Runs in the loader's thread, on a runtime of its own."""
        runtime = self._make_runtime(Kinematics(self._spec))
        runtime.load(self._registry, version)
        policy = runtime.policy
        if self.parameters.mode == "paced":
            p, folder = self.parameters, self._registry.folder / version
            acting, self._computed_by[version] = acting_by(policy, p.runtime, folder, precision=p.precision)
            policy.act_by(acting)
            warm_up(policy)
        return policy

    def _load_active(self) -> str:
        """The active version; begins to load it."""
        try:
            version = read_activation(Path(self.parameters.registry)).version
        except PolicyFileError as error:
            self._problem = str(error)
            self.get_logger().error(self._problem)
            return ""
        if version:
            self._loader.request(version)
        return version

    def _speed_of(self, version: str) -> float:
        """Share of full speed at which a version is tried out."""
        try:
            active = read_activation(Path(self.parameters.registry))
        except PolicyFileError:
            return 1.0
        return active.speed if active.version == version else 1.0

    def _on_update(self, message: msg.PolicyUpdate) -> None:
        version = self._load_active() or message.version
        self._loader.request(version)
        if message.immediate and self._begun:
            self._version = version

    def _on_episode(self, message: msg.EpisodeContext) -> None:
        self._episode = from_message(message)
        self._begin()

    def _begin(self) -> None:
        """Take in the episode as it stands; its policy may still have to be loaded."""
        context = self._episode
        if context.phase != Phase.RUNNING:
            self._begun = ""
            return
        try:
            self._use_task(context.task)
        except ValueError as error:
            self.get_logger().error(f"episode {context.episode_id}: {error}")
            return
        scripted = context.purpose == Purpose.DEMONSTRATE and not context.policy_version
        self._version = "" if scripted else context.policy_version or self._load_active()
        if self._version:
            self._loader.request(self._version)
        self._runtime.speed = self._speed_of(self._version)
        self._begun = ""
        self._answer = None
        if self._in_order is not None:
            self._in_order.begin(context.start_sequence)
            self._follow()

    def _on_command(self, message: msg.SafeCommand) -> None:
        by_policy = message.source == msg.SafeCommand.SOURCE_POLICY
        if self._in_order is not None:
            self._in_order.add_command(message.state_sequence, by_policy)
            self._follow()
        elif not by_policy:
            self._runtime.interrupt()

    def _on_observation(self, message: msg.Observation) -> None:
        try:
            self._cameras.add_all(pictures_of(message))
        except ValueError as error:
            self.get_logger().warning(f"observation refused: {error}", throttle_duration_sec=1.0)
            return
        if self._in_order is not None:
            self._follow()

    def _on_state(self, message: msg.RobotState) -> None:
        if self._answer is not None and self._answer.state_sequence == message.sequence:
            if self._in_order is not None:
                self._actions.publish(self._answer)  # the driver asks again
            return
        state = from_message(message)
        if self._in_order is not None:
            self._in_order.add_state(state)
            self._follow()
        elif self._ready and state.sequence >= self._episode.start_sequence:
            self._respond(state)

    def _follow(self) -> None:
        """In lock-step: answer every state whose turn it is."""
        if self._episode.phase != Phase.RUNNING:
            self._in_order.keep_newest()
            return
        while self._ready and (turn := self._in_order.next(self._seen)) is not None:
            state, interrupted = turn
            if interrupted:
                self._runtime.interrupt()
            self._respond(state)

    def _seen(self, state: RobotState) -> bool:
        """Whether what a decision in this state looks at has come."""
        senses = self._runtime.senses
        if not self.parameters.wait_for_pictures or senses is None or not self._runtime.decides_at(state):
            return True
        return self._cameras.shows(senses.cameras, state.stamp)

    def _respond(self, state: RobotState) -> None:
        needed = ("joints", "objects") if self._task.objects and self._runtime.needs_objects else ("joints",)
        self._blind = next((f"{name}: {m.reason}" for name in needed if not (m := state.modality(name)).valid), "")
        if self._blind:
            return  # nothing to act on: silence is answered by a hold
        self._acted += 1
        chunk = self._runtime.last_chunk
        self._acting = bool(self._version)
        if self._acting:
            action = self._runtime.act(state)
        else:  # a person drives, or no version can be used
            action = hold_action(state, self._acted, self._spec.control_period, self._episode.episode_id)
        self._answer = to_message(action)
        self._actions.publish(self._answer)
        self.cycle_times.add_age(action.stamp - action.observation_stamp)
        if self._runtime.last_chunk is not chunk:
            self._chunks.publish(to_message(self._runtime.last_chunk))

    @property
    def _ready(self) -> bool:
        """Whether an episode runs and there is something to act by; begins the episode when its policy is there."""
        episode = self._episode
        if episode.phase != Phase.RUNNING or not self._take_version():
            return False
        if self._begun != episode.episode_id:
            self._begun = episode.episode_id
            self._runtime.start_episode(episode.goal, episode.episode_id, episode.start_sequence)
            spread = self.parameters.exploration if episode.purpose == Purpose.TRAIN else 0.0
            self._runtime.exploration = Exploration.of_episode(spread, episode.seed, delicate=self._task.delicate)
        return True

    def _take_version(self) -> bool:
        """Whether there is something to act by: the version asked for, or the one in force where it cannot be used."""
        runtime, version = self._runtime, self._version
        if not version or (runtime.policy is not None and runtime.policy.version == version):
            return True
        policy = self._loader.policy(version)
        if policy is not None:
            runtime.policy, self._problem = policy, ""
            if not self._acting:
                runtime.interrupt()  # somebody else led the arm until now
            return True
        problem = self._loader.problem(version)
        if problem:
            self._version = runtime.policy.version if runtime.policy is not None else ""
            self._problem = f"policy {version} refused: {problem}"
            self.get_logger().error(f"{self._problem}; acting by {self._version or 'holding'}")
        # While a version loads in mid-episode the one in force goes on; between episodes there is time to wait.
        return bool(problem) or (runtime.policy is not None and self._begun == self._episode.episode_id)


def main() -> int:
    """Exit code of the inference's process."""
    return run(PolicyInference)


if __name__ == "__main__":
    sys.exit(main())
