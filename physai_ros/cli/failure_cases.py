"""Episodes whose failure is known because it was brought about, seen as a real driver sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from physai_ros.evaluation.driving import DemonstrationNoise, ScriptedDriver
from physai_ros.evaluation.episode_log import EpisodeLog
from physai_ros.experience.episode import Episode, EpisodeContext, EpisodeOutcome, Phase, Purpose
from physai_ros.fusion.state_fuser import StateFuser
from physai_ros.robot.command import CommandSource
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import RobotState
from physai_ros.robot.volumes import KeepOut
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.rules import CONTACT
from physai_ros.safety.state_machine import SafetyState
from physai_ros.safety.supervisor import SafetySupervisor
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.simulation.simulated_driver import SimulatedDriver
from physai_ros.tasks.pick_place import CUBE, SIDE, PickPlace, PickPlaceExpert, holds_cube
from physai_ros.tasks.task import Expert, ObjectSpec, Scenario, TaskAction

POST = "post"
_POST = ObjectSpec(POST, (0.03, 0.03, 0.25), 1.0, (0.3, 0.3, 0.3, 1.0), fixed=True)
_AWAY = (0.0, 0.0, -2.0, 1.0, 0.0, 0.0, 0.0)  # of a post that nothing shall meet
_LIFT = 0.02  # [m] above its start from which an object was carried, not merely gripped
_AFTER = 1.5  # [s] that an episode goes on after what was brought about, as it does until somebody ends it
_SLIPPERY = {"object_friction": 0.2, "grip_force": 5.0, "object_mass_scale": 5.0}
_WIDTH_PERIOD, _WIDTH_STEP = 5, 1e-4  # [cycles], [m] of a hand that reports at 20 Hz in tenths of a millimetre

TUNED_ON = PhysicsParameters(joint_friction=0.2, force_noise=0.3)
"""The arm that the rules' thresholds were set on: the nominal one, with some noise of its force sensor."""


def unseen_physics(generator: np.random.Generator) -> PhysicsParameters:
    """An arm that no threshold was set on: later, weaker, stiffer in its joints, noisier, with other objects."""
    draw = generator.uniform
    return PhysicsParameters(
        gravity=float(draw(9.4, 10.2)),
        object_mass_scale=float(draw(0.5, 3.0)),
        object_friction=float(draw(0.6, 1.4)),
        joint_friction=float(draw(0.5, 1.6)),
        joint_damping=float(draw(1.3, 3.0)),
        actuator_gain=float(draw(0.65, 0.9)),
        actuator_delay=float(draw(0.02, 0.08)),
        grip_force=float(draw(12.0, 45.0)),
        encoder_noise=float(draw(0.0, 0.003)),
        force_noise=float(draw(0.4, 1.2)),
    )


@dataclass(frozen=True)
class Case:
    """What is brought about in one episode, and the mode that it must be called.

    `expert` makes who drives; `physics` changes the arm from the start, `slip_at` [m] of the cube's height from which
    its grip fails; `post` stands where it is in the way; `blocked` are boxes that the safety monitor keeps out of;
    `stop_at` and `abort_at` [s] are instants of an emergency stop and of the operator's end.
    """

    name: str
    mode: str
    expert: Callable[[PickPlaceExpert], Expert] = lambda expert: expert
    physics: dict[str, float] | None = None
    slip_at: float = np.inf
    post: tuple[float, ...] = _AWAY
    blocked: tuple[KeepOut, ...] = ()
    stop_at: float = np.inf
    abort_at: float = np.inf
    seconds: float = 7.0


class CasePickPlace(PickPlace):
    """Pick-and-place beside a post."""

    objects = (*PickPlace.objects, _POST)

    def scenario(self, parameters: dict[str, float]) -> Scenario:
        """The scenario of these parameters, the post out of the way."""
        scenario = super().scenario(parameters)
        return replace(scenario, object_poses=dict(scenario.object_poses) | {POST: _AWAY})


class Misdriven(Expert):
    """An expert that goes astray: aims `offset` (3,) [m] off the cube, goes `pace` as fast, and freezes when told.

    `floor` [m] is a height of the tool below which it will not go.
    """

    def __init__(
        self,
        expert: Expert,
        offset: Sequence[float] = (0, 0, 0),
        pace: float = 1.0,
        floor: float = 0.0,
        freeze: Callable[[RobotState], bool] = lambda state: False,
        release: Callable[[RobotState], bool] = lambda state: False,
    ) -> None:
        self._expert, self._offset, self._pace, self._floor = expert, np.array(offset, dtype=float), pace, floor
        self._freeze, self._release = freeze, release
        self._frozen = self._released = False

    def act(self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], goal: np.ndarray) -> TaskAction:
        """The expert's decision, spoilt."""
        self._frozen = self._frozen or self._freeze(state)
        self._released = self._released or self._release(state)
        if self._released:
            rise = np.array([0.0, 0.0, np.clip(0.2 - commanded_pose[0][2], 0.0, 0.02), 0.0, 0.0, 0.0])
            return TaskAction(rise, 1.0)
        if self._frozen:
            return TaskAction(np.zeros(6), state.gripper_command)
        poses = dict(state.object_poses)
        cube = np.array(poses[CUBE], dtype=float)
        cube[:3] += self._offset
        action = self._expert.act(replace(state, object_poses=poses | {CUBE: cube}), commanded_pose, goal)
        delta = action.ee_delta * self._pace
        if commanded_pose[0][2] + delta[2] < self._floor:
            delta[2] = max(delta[2], self._floor - commanded_pose[0][2])
        return TaskAction(delta, action.gripper)


class Blind(Expert):
    """An expert that notices only some policy steps later that what it held is gone, as whoever has to look does."""

    def __init__(self, expert: Expert, steps: int) -> None:
        self._expert, self._steps = expert, steps
        self._unnoticed = 0
        self._held = False

    def act(self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], goal: np.ndarray) -> TaskAction:
        """The expert's decision, or what it did before while it has not noticed."""
        if self._held and not holds_cube(state) and state.gripper_command < 0:
            self._unnoticed = self._steps
        self._held = holds_cube(state)
        if self._unnoticed > 0:
            self._unnoticed -= 1
            rise = np.clip(0.1 - commanded_pose[0][2], 0.0, 0.02)
            return TaskAction(np.array([0.0, 0.0, rise, 0.0, 0.0, 0.0]), -1.0)
        return self._expert.act(state, commanded_pose, goal)


class Pusher(Expert):
    """Goes to the cube with closed fingers and presses down with the set-point `depth` [m] below its top."""

    def __init__(self, depth: float) -> None:
        self._depth = depth

    def act(self, state: RobotState, commanded_pose: tuple[np.ndarray, np.ndarray], goal: np.ndarray) -> TaskAction:
        """Down on the cube, closed."""
        cube = state.object_poses[CUBE][:3]
        across = cube[:2] - commanded_pose[0][:2]
        bottom = SIDE + 0.01 - self._depth if np.linalg.norm(across) < 0.01 else SIDE + 0.08
        delta = np.clip([*across, bottom - commanded_pose[0][2]], -0.02, 0.02)
        return TaskAction(np.array([*delta, 0.0, 0.0, 0.0]), -1.0)


def draw_case(mode: str, scenario: Scenario, generator: np.random.Generator) -> Case:
    """A case of a mode, drawn with its look-alikes."""
    cube, goal = np.array(scenario.object_poses[CUBE][:3]), np.array(scenario.goal[:3])
    draw = generator.uniform
    if mode == "drop":
        notice = int(generator.integers(2, 7))
        return Case("grip fails in the air", mode, lambda e: Blind(e, notice), slip_at=float(draw(0.05, 0.085)))
    if mode == "unstable_grasp":
        notice = int(generator.integers(2, 7))
        return Case("grip fails on the table", mode, lambda e: Blind(e, notice), physics=_SLIPPERY, seconds=6.0)
    if mode == "collision":
        if generator.random() < 0.5:  # under the palm, beside the fingers
            beside = cube[:2] + np.array([0.0, float(draw(0.055, 0.075)) * generator.choice([-1, 1])])
            return Case("post beside the cube", mode, post=_standing(beside, float(draw(0.16, 0.25))), seconds=5.0)
        way = (goal - cube)[:2]
        half = 0.5 * float(np.abs(way).max())  # both axes move at once, until the nearer is there
        return Case(
            "post on the way back", mode, post=_standing(cube[:2] + np.clip(way, -half, half), float(draw(0.13, 0.24)))
        )
    if mode == "planning_failure":
        where, name = (cube, "cube fenced in") if generator.random() < 0.5 else (goal, "goal fenced in")
        low = np.array([where[0] - 0.05, where[1] - 0.05, -0.1])
        high = np.array([where[0] + 0.05, where[1] + 0.05, 0.5])
        return Case(name, mode, blocked=(KeepOut("fence", low, high),), seconds=6.0)
    if mode == "safety_stop":
        return Case("emergency stop", mode, stop_at=float(draw(0.5, 4.5)), seconds=6.0)
    if mode == "operator_abort":
        return Case("ended by hand", mode, abort_at=float(draw(0.5, 4.5)))
    if mode == "timeout":
        return _timeout(generator)
    raise ValueError(f"no case of mode '{mode}'; known are {', '.join(MODES)}")


MODES = ("drop", "unstable_grasp", "collision", "planning_failure", "safety_stop", "operator_abort", "timeout")


def _timeout(generator: np.random.Generator) -> Case:
    """Nothing is wrong but that time runs out, in ways that look like something else."""
    draw = generator.uniform
    kind = int(generator.integers(6))
    if kind == 0:
        return Case("slow", "timeout", lambda expert: Misdriven(expert, pace=0.25), seconds=5.0)
    if kind == 1:
        side = float(draw(0.06, 0.09))
        return Case("closes on nothing", "timeout", lambda expert: Misdriven(expert, (side, 0.0, 0.0)), seconds=6.0)
    if kind == 2:
        return Case("holds on for ever", "timeout", lambda e: Misdriven(e, freeze=_carries), seconds=6.0)
    if kind == 3:
        return Case("lets go on purpose", "timeout", lambda e: Misdriven(e, release=_carries), seconds=6.0)
    if kind == 4:
        return Case("leans on it gently", "timeout", lambda expert: Pusher(float(draw(0.001, 0.004))), seconds=5.0)
    return Case("does not dare", "timeout", lambda expert: Misdriven(expert, floor=float(draw(0.1, 0.2))), seconds=5.0)


def _carries(state: RobotState) -> bool:
    return holds_cube(state) and state.object_poses[CUBE][2] > 0.07


def _standing(where: np.ndarray, top: float) -> tuple[float, ...]:
    """Pose of a post on the table whose upper end is at `top` [m]."""
    return (float(where[0]), float(where[1]), top - _POST.size[2] / 2, 1.0, 0.0, 0.0, 0.0)


class CaseRunner:
    """Runs cases on one simulated arm, with safety monitor and fusion as in the graph."""

    def __init__(self, robot: str = "fr3_sim") -> None:
        self._spec = RobotSpec.load(robot)
        self._task = CasePickPlace()
        self._driver = SimulatedDriver(self._spec, self._task, PhysicsParameters(), 0, lock_step=True)
        self._kinematics = self._driver.arm.kinematics
        self._fuser = StateFuser(self._spec, self._kinematics, [item.name for item in self._task.objects])

    @property
    def task(self) -> PickPlace:
        """What the arm is to do."""
        return self._task

    def scenario(self, generator: np.random.Generator) -> Scenario:
        """A start state of cube and goal, far enough apart that there is a way between them."""
        while True:
            scenario = self._task.scenario(
                {name: float(generator.uniform(*span)) for name, span in self._task.scenario_bounds.items()}
            )
            cube, goal = np.array(scenario.object_poses[CUBE][:2]), np.array(scenario.goal[:2])
            if np.linalg.norm(cube - goal) > 0.15:
                return scenario

    def run(
        self, case: Case, scenario: Scenario, physics: PhysicsParameters, seed: int, episode_id: str
    ) -> Episode | None:
        """The episode as a real driver shows it; None where what was to be brought about did not come about."""
        spec, driver = self._spec, self._driver
        driver.arm.sequence = -1
        driver.randomize((physics.with_values(case.physics) if case.physics else physics).values())
        scenario = replace(scenario, object_poses=dict(scenario.object_poses) | {POST: case.post})
        start = driver.reset(self._task, scenario, seed, "")
        # A monitor of its own counts its commands anew, which the driver takes from a new claim alone.
        token = driver.guard.claim("cases")
        driver.resume()
        limits = replace(SafetyLimits.from_spec(spec), keep_out=case.blocked)
        supervisor = SafetySupervisor(spec, limits, self._kinematics)
        self._fuser.reset()
        supervisor.activate(driver.measure())
        supervisor.resume()
        person = ScriptedDriver(self._kinematics, _Of(self._task, case))
        generator = np.random.default_rng([seed, 0xCA])
        person.start_episode(
            scenario.goal, episode_id, start, generator, demonstrate=True, noise=DemonstrationNoise(0.1)
        )
        log, truth, reason = EpisodeLog(), _Truth(scenario), "timeout"
        for cycle in range(round(case.seconds * spec.control_rate)):
            elapsed = cycle * spec.control_period
            if elapsed >= case.stop_at:
                driver.emergency_stop()
            state = driver.measure()
            fused = self._fuser.fuse(state, driver.arm.object_states(), state.stamp)
            true_state = driver.arm.task_state()
            intervention = person.drive(true_state)
            command = supervisor.decide(state, None, intervention, state.stamp)
            truth.see(true_state, not CONTACT.isdisjoint(supervisor.reasons))
            if truth.height > case.slip_at and truth.slipped_at == np.inf:
                truth.slipped_at = elapsed
                driver.arm.set_physics(driver.arm.physics.with_values(_SLIPPERY))
            command.token = token
            driver.answers(command)
            # It is the policy that fails here; the scripted driver stands for it.
            if command.source == CommandSource.OPERATOR:
                command = replace(command, source=CommandSource.POLICY)
            log.append(fused, intervention.action, None, command)
            if elapsed >= case.abort_at:
                reason = "operator"
                break
            if supervisor.state == SafetyState.STOPPED and not np.isfinite(case.stop_at - elapsed):
                reason = "safety"
                break
            if elapsed > min(case.stop_at, truth.slipped_at) + _AFTER:
                reason = "safety" if np.isfinite(case.stop_at) else "timeout"
                break
            driver.advance(driver.arm.time)
        context = EpisodeContext(
            episode_id=episode_id,
            phase=Phase.ENDED,
            purpose=Purpose.TRAIN,
            task=self._task.name,
            instruction=self._task.instruction,
            goal=scenario.goal,
            scenario_json=scenario.to_json(),
            seed=seed,
            robot=spec.name,
            start_sequence=start,
            end_reason=reason,
            stamp=driver.arm.time,
        )
        episode = Episode(
            context, EpisodeOutcome(stamp=driver.arm.time), spec.joint_names, self._fuser.required_objects, log.series()
        )
        return as_a_real_driver_shows(episode) if truth.confirms(case) else None


def as_a_real_driver_shows(episode: Episode) -> Episode:
    """The episode without what only a simulator has: contacts of the pads, the force of the grip, poses of objects.

    The fingers' opening comes at 20 Hz in tenths of a millimetre, as a hand on a field bus reports it.
    """
    series, count = dict(episode.series), len(episode)
    width = np.round(series["gripper_width"] / _WIDTH_STEP) * _WIDTH_STEP
    series["gripper_width"] = width[(np.arange(count) // _WIDTH_PERIOD) * _WIDTH_PERIOD]
    series["contact_forces"] = np.zeros((count, 0))
    series["gripper_force"] = np.full(count, np.nan)
    series["object_poses"] = np.zeros((count, 0, 7))
    return replace(episode, series=series, object_names=())


class _Of(PickPlace):
    """The task with the case's driver as its expert."""

    def __init__(self, task: PickPlace, case: Case) -> None:
        self._task, self._case = task, case

    def expert(self, generator: np.random.Generator) -> Expert:
        return self._case.expert(self._task.expert(generator))


class _Truth:
    """What really happened to the cube and the arm, as the simulator knows it."""

    def __init__(self, scenario: Scenario) -> None:
        self._start = scenario.object_poses[CUBE][2]
        self._held = self._loose = 0
        self.height = 0.0
        self.slipped_at = np.inf
        self._highest_held = 0.0
        self._lost_high = self._lost_low = False
        self._hard = 0
        self._longest_hard = 0
        self._hit_first = False

    def see(self, state: RobotState, stopped_by_contact: bool) -> None:
        """Look at one true state, and at whether the safety monitor stopped for a contact."""
        self.height = float(state.object_poses[CUBE][2])
        held = bool(state.gripper_command < 0 and state.contact_forces.min() > 0.3)
        if held:
            self._held += 1
            self._highest_held = self.height - self._start
            self._loose = 0
        elif self._held:
            self._loose += 1
            if state.gripper_command > 0:
                self._held = 0
            elif self._loose >= 3:
                self._lost_high |= self._held >= 10 and self._highest_held >= _LIFT
                self._lost_low |= self._held >= 10 and self._highest_held < _LIFT
                self._held = 0
        self._hard = self._hard + 1 if np.linalg.norm(state.wrench[:3]) > 40.0 else 0
        self._longest_hard = max(self._longest_hard, self._hard)
        # That is a collision for the task's own test, and what the safety monitor stops for.
        if (self._longest_hard >= 5 or stopped_by_contact) and not (self._lost_high or self._lost_low):
            self._hit_first = True

    def confirms(self, case: Case) -> bool:
        """Whether the case came about, and nothing else did."""
        lost = self._lost_high, self._lost_low
        if case.mode == "collision":
            return self._hit_first
        quiet = self._longest_hard < 2 and not self._hit_first
        if case.mode in ("drop", "unstable_grasp"):
            return quiet and lost == (case.mode == "drop", case.mode == "unstable_grasp")
        return quiet and not any(lost)
