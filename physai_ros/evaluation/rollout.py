"""One episode in one process: the objects that the nodes wrap, called in the order in which lock-step calls them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from physai_ros.evaluation.album import PictureAlbum, RolloutCameras
from physai_ros.evaluation.conditions import NOMINAL, Condition
from physai_ros.evaluation.driving import DemonstrationNoise, ScriptedDriver
from physai_ros.evaluation.episode_log import EpisodeLog
from physai_ros.evaluation.unfiltered import Unfiltered
from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase, Purpose
from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.policy.exploration import Exploration
from physai_ros.policy.predictor import Predictor
from physai_ros.policy.runtime import ActingPolicy, PolicyRuntime
from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.cartesian_reference import CYCLES_PER_STEP
from physai_ros.robot.command import CommandSource, SafeCommand
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState, RobotState
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.state_machine import SafetyState
from physai_ros.safety.supervisor import SafetySupervisor
from physai_ros.simulation.arm import SimulatedArm
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.simulation.simulated_driver import SimulatedDriver
from physai_ros.tasks.task import Outcome, Scenario, Task

GRACE = 1.0  # [s] beyond the task's time limit after which an episode without a verdict is ended


class Rollout:
    """The control cycle of the architecture page, without processes and messages between its steps.

    An episode is a function of scenario, seed, purpose, physics and policy alone: nothing is carried over from the
    episode before, so that results do not depend on which process ran what. Simulated time and sequence start at zero.

    A policy that sees is shown every policy step what its cameras see at that instant. With `cameras` these are kept in
    the episode's pictures, whoever drives.

    `predictor` and `continuity` are the runtime's: when a decision is there, and how chunks follow each other.

    With `filtered` false everything passes unchecked, which shows what the safety monitor costs and saves.

    Raises:
        SafetyConfigurationError: `limits` do not fit the arm.
    """

    def __init__(
        self,
        spec: RobotSpec,
        task: Task,
        *,
        physics: PhysicsParameters | None = None,
        policy: ActingPolicy | None = None,
        limits: SafetyLimits | None = None,
        filtered: bool = True,
        make_arm: Callable[[Task], SimulatedArm] | None = None,
        cameras: RolloutCameras | None = None,
        predictor: Predictor | None = None,
        continuity: str = "none",
    ) -> None:
        """Take robot and task; `make_arm` makes another arm than the simulator's own, such as a twin."""
        self.spec = spec
        self._cameras = cameras
        self.task = task
        self._physics = physics or PhysicsParameters()
        self._driver = SimulatedDriver(spec, task, self._physics, 0, lock_step=True, make_arm=make_arm)
        kinematics = self.arm.kinematics
        self._fuser = StateFuser(spec, kinematics, [item.name for item in task.objects])
        self.runtime = PolicyRuntime(
            spec,
            kinematics,
            task.features,
            task.action_axes,
            task.action_scale,
            policy,
            predictor=predictor,
            continuity=continuity,
        )
        self._supervisor = (
            SafetySupervisor(spec, limits or SafetyLimits.from_spec(spec), kinematics) if filtered else Unfiltered(spec)
        )
        self._person = ScriptedDriver(kinematics, task)
        self._token = self._driver.guard.claim("rollout")

    @property
    def arm(self) -> SimulatedArm:
        """The arm that episodes are run on."""
        return self._driver.arm

    def run(
        self,
        scenario: Scenario,
        seed: int,
        purpose: Purpose = Purpose.EVALUATE,
        *,
        episode_id: str = "",
        operator: bool = False,
        noise: DemonstrationNoise | None = None,
        physics: PhysicsParameters | None = None,
        condition: Condition = NOMINAL,
        exploration: float = 0.0,
        on_cycle: Callable[[RobotState, SafeCommand], None] | None = None,
    ) -> Episode:
        """The episode that starts in `scenario`, with the simulator's noise drawn from `seed`.

        `Purpose.DEMONSTRATE` lets the task's expert drive, with `noise` on what it does; for other purposes the policy
        drives, and with `operator` a scripted one may step in. `condition` changes physics, hides objects and pushes;
        while an object is hidden for long the policy has nothing to act on, as in the graph. `exploration` is the
        spread of what the policy tries, as a share of the action scale. `on_cycle` is called after every command.

        Raises:
            RuntimeError: there is no policy to drive.
            ValueError: the scenario is not one of the task's.
        """
        demonstrate = purpose == Purpose.DEMONSTRATE
        if not demonstrate and self.runtime.policy is None:
            raise RuntimeError("no policy is loaded: give Rollout a policy, or run a demonstration")
        state = self._start(scenario, seed, (physics or self._physics).with_values(condition.physics))
        by_sight = not demonstrate and not self.runtime.needs_objects
        needed = ("joints",) if by_sight or not self.task.objects else ("joints", "objects")
        start = state.sequence
        self.runtime.start_episode(scenario.goal, episode_id, start)
        self.runtime.exploration = Exploration.of_episode(exploration, seed, delicate=self.task.delicate)
        person = self._person if operator or demonstrate else None
        if person is not None:
            generator = np.random.default_rng([seed, 0x0B])
            # Whoever sees the world with their own eyes is not misled by how a goal is told.
            goal = tuple(self.arm.physics.true_goal(scenario.goal).tolist())
            person.start_episode(goal, episode_id, start, generator, demonstrate=demonstrate, noise=noise)
        self.runtime.cameras.reset()
        log, album = EpisodeLog(), PictureAlbum(self._cameras, None if demonstrate else self.runtime.senses)
        outcome, end_reason = Outcome(), "timeout"
        for cycle in range(int((self.task.time_limit + GRACE) * self.spec.control_rate)):
            if cycle:
                state = self._driver.measure()
            self._driver.test()
            outcome = self._driver.outcome or outcome
            elapsed = cycle * self.spec.control_period
            objects = self.arm.object_states() if condition.sees_objects(elapsed) else None
            fused = self._fuser.fuse(state, objects, state.stamp)
            if cycle % CYCLES_PER_STEP == 0:
                self.runtime.cameras.add_all(album.take(self.arm, state.stamp))
            blind = not all(fused.modality(name).valid for name in needed)
            proposal = None if demonstrate or blind else self.runtime.act(fused)
            intervention = None if person is None else person.drive(self.arm.task_state())
            command = self._permit(state, proposal, intervention)
            log.append(fused, proposal, intervention, command)
            if on_cycle is not None:
                on_cycle(fused, command)
            if outcome.done:
                end_reason = "outcome"
                break
            if self._supervisor.state == SafetyState.STOPPED:
                outcome, end_reason = _stopped(outcome), "safety"
                break
            if condition.pushes:
                self.arm.push((*condition.force_at(elapsed), 0.0))
            self._driver.advance(self.arm.time)
        return Episode(
            context=EpisodeContext(
                episode_id=episode_id,
                phase=Phase.ENDED,
                purpose=purpose,
                task=self.task.name,
                instruction=self.task.instruction,
                goal=scenario.goal,
                scenario_json=scenario.to_json(),
                seed=seed,
                policy_version="" if demonstrate else self.runtime.policy.version,
                robot=self.spec.name,
                start_sequence=start,
                end_reason=end_reason,
                stamp=state.stamp,
            ),
            outcome=_episode_outcome(outcome, state.stamp),
            joint_names=self.spec.joint_names,
            object_names=tuple(item.name for item in self.task.objects),
            series=log.series(),
            pictures=album.pictures(),
        )

    def close(self) -> None:
        """Release the arm's cameras."""
        self.arm.close()

    def _start(self, scenario: Scenario, seed: int, physics: PhysicsParameters) -> DriverState:
        """First measurement after a reset, with safety and guard as freshly started and resumed."""
        self.arm.sequence = -1  # every episode begins at time zero, whatever this process ran before
        self._driver.randomize(physics.values())
        self._driver.reset(self.task, scenario, seed, "rollout")
        self._driver.resume()
        self._fuser.reset()
        state = self._driver.measure()
        self._supervisor.activate(state)
        self._supervisor.resume()
        return state

    def _permit(
        self, state: DriverState, proposal: RobotAction | None, intervention: Intervention | None
    ) -> SafeCommand:
        """The command that answers a measurement, handed to the guard and made known to the policy."""
        command = self._supervisor.decide(state, proposal, intervention, state.stamp)
        command.token = self._token
        self._driver.answers(command)
        if command.source != CommandSource.POLICY:
            self.runtime.interrupt()
        return command


def _stopped(outcome: Outcome) -> Outcome:
    """The verdict on an episode that the safety monitor ended."""
    return Outcome(True, False, 0.0, "safety_stop", outcome.stage, outcome.evidence)


def _episode_outcome(outcome: Outcome, stamp: float) -> EpisodeOutcome:
    mode = outcome.failure_mode if outcome.done else "timeout"
    return EpisodeOutcome(outcome.success, outcome.reward, mode, outcome.stage, dict(outcome.evidence), stamp)
