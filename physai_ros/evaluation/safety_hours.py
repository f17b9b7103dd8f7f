"""Hours of bad policies on the simulated arm, with the safety monitor and, to show that the check can fail, without."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from physai_ros.evaluation.adversary import AdversarialPolicy, Antagonist, RandomPolicy
from physai_ros.evaluation.motion_check import MotionCheck
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.robot.action import RobotAction
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState
from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.state_machine import SafetyState
from physai_ros.safety.supervisor import SafetySupervisor
from physai_ros.simulation.link_distances import LinkDistances
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.simulation.simulated_driver import SimulatedDriver
from physai_ros.tasks.catalog import load_task

# What the arm itself may pass a limit by, servo lag and contact included, where its set-point keeps it.
POSITION = 0.02  # [rad]
VELOCITY = 0.10  # share of the limit
WORKSPACE = 0.01  # [m]
# What contact may exceed the force budget by [N s/m], for each m/s of the arm's fastest point from 0.3 s before
# it began on. A blow is over before a control cycle tells of it, so that no stop is in time: by F = v sqrt(m k)
# (ISO/TS 15066:2016, A.3.4) this is 4 kg of the arm against 360 kN/m.
IMPACT = 1200.0
# How long a contact may press above the budget [s]: a joint brakes, and comes back slowly to where the arm was pushed.
PRESS = 1.0
POLICIES = ("random", "adversarial")
_CLOSE = 0.02  # [m]
_BEFORE = 0.3  # [s]
_PRESSING = 20.0  # [N] above the budget, while a stop relieves what presses without a blow
_DISPLACED = 0.05  # [rad] from its set-point, at which nobody would let an arm go on


@dataclass
class SafetyHours:
    """What came of it; counts are control cycles.

    `commanded` are violations of what was commanded, stops included, beyond rounding; `arm` those of what the arm did,
    beyond the tolerances above; `peak_force` [N] on the tool, `impact` [N s/m] the most above the budget by the speed
    of the blow (see `IMPACT`), `longest_press` [s] in a row above the budget.
    """

    policy: str
    filtered: bool
    cycles: int = 0
    commanded: Counter[str] = field(default_factory=Counter)
    arm: Counter[str] = field(default_factory=Counter)
    altered: int = 0
    stops: Counter[str] = field(default_factory=Counter)
    peak_force: float = 0.0
    impact: float = 0.0
    longest_press: float = 0.0
    nearest_links: float = float("inf")
    lowest_tool: float = float("inf")

    @property
    def violations(self) -> int:
        """All violations, of commands and of the arm."""
        return sum(self.commanded.values()) + sum(self.arm.values())


class SafetyTrial:
    """An arm, a policy that means no good, and between them the safety monitor, or nothing."""

    EPISODE = 3000  # cycles after which the world starts anew

    def __init__(
        self,
        policy: str,
        *,
        filtered: bool = True,
        seed: int = 0,
        task: str = "pick_place",
        limits: SafetyLimits | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"unknown policy '{policy}'; known are: {', '.join(POLICIES)}")
        self._spec = RobotSpec.load("fr3_sim")
        self._task = load_task(task)
        self._driver = SimulatedDriver(self._spec, self._task, PhysicsParameters(), seed, lock_step=True)
        self._limits = limits or SafetyLimits.from_spec(self._spec)
        self._kinematics = self._driver.arm.kinematics
        self._supervisor = SafetySupervisor(self._spec, self._limits, self._kinematics)
        self._token = self._driver.guard.claim("trial")
        self._check = MotionCheck(self._limits, self._kinematics, self._spec.control_period)
        self._links = LinkDistances(self._spec, self._limits.self_distance.unwatched)
        generator = np.random.default_rng([seed, 0xAD])
        self._policy: Antagonist = (
            RandomPolicy(self._limits, generator)
            if policy == "random"
            else AdversarialPolicy(self._limits, self._kinematics, generator)
        )
        self._seed = seed
        self._number = self._pressed = 0
        self._blow = 0.0
        self.result = SafetyHours(policy, filtered)

    def run(self, seconds: float) -> SafetyHours:
        """Go on for `seconds` of simulated time; results add up."""
        for cycle in range(round(seconds * self._spec.control_rate)):
            if cycle % self.EPISODE == 0:
                self._start()
            self._cycle()
        return self.result

    def close(self) -> None:
        """Release the arm's cameras."""
        self._driver.arm.close()

    def _start(self) -> None:
        self._driver.arm.sequence = -1
        seed = scenario_seeds("train", self._seed, 1, self._number)[0]
        self._number += 1
        self._driver.reset(self._task, scenario_of(self._task, seed), seed, "")
        self._driver.resume()
        state = self._driver.measure()
        self._supervisor.activate(state)
        self._supervisor.resume()
        self._check.start(state.commanded_positions)
        self._counted: set[str] = set()
        self._speeds = deque[float](maxlen=round(_BEFORE * self._spec.control_rate))
        self._links_before: np.ndarray | None = None

    def _cycle(self) -> None:
        result, state = self.result, self._driver.measure()
        reference, gripper = self._policy.propose(state.commanded_positions)
        if result.filtered:
            target = self._permitted(state, reference, gripper)
        else:
            target = reference, gripper
            self._driver.arm.step(np.clip(reference, -20.0, 20.0), gripper)
        result.cycles += 1
        self._check.see(target[0])
        result.commanded = self._check.violations
        self._judge_arm()

    def _permitted(self, state: DriverState, reference: np.ndarray, gripper: float) -> tuple[np.ndarray, float]:
        """Let the monitor decide and the arm move; once it rests in a stop where it is to be, force gone, resume."""
        supervisor, result = self._supervisor, self.result
        action = RobotAction(
            stamp=state.stamp,
            sequence=state.sequence + 1,
            state_sequence=state.sequence,
            joint_names=state.joint_names,
            reference_positions=reference,
            joint_delta=np.zeros(len(reference)),
            gripper_command=gripper,
        )
        command = supervisor.decide(state, action, None, state.stamp)
        command.token = self._token
        if not self._driver.answers(command) or self._driver.guard.command_sequence != command.sequence:
            result.commanded["refused_by_the_driver"] += 1
        result.altered += command.altered
        self._check.see_stop(command.stop.positions)
        self._driver.advance(self._driver.arm.time)
        if supervisor.state == SafetyState.STOPPED:
            reasons = set(command.reasons)
            result.stops.update(reasons - self._counted)
            self._counted |= reasons
            pressing = float(np.linalg.norm(state.wrench[:3])) > 0.5 * self._limits.force_budget
            displaced = float(np.abs(state.joint_positions - state.commanded_positions).max()) > _DISPLACED
            if not (supervisor.set_point.velocities.any() or pressing or displaced):
                supervisor.resume()
                self._counted.clear()
        return command.positions, command.gripper_command

    def _judge_arm(self) -> None:
        result, limits, spec = self.result, self._limits, self._spec
        truth = self._driver.arm.true_driver_state()
        positions = truth.joint_positions
        force, speed = float(np.linalg.norm(truth.wrench[:3])), self._fastest(positions)
        self._blow = max(self._blow, speed) if self._pressed else speed
        result.peak_force = max(result.peak_force, force)
        above = force - limits.force_budget
        if above > 0.0 and self._blow > 0.0:
            result.impact = max(result.impact, above / self._blow)
        outside = np.maximum(spec.position_lower - positions, positions - spec.position_upper).max()
        tool = self._kinematics.tool_pose(positions).position
        beyond = np.maximum(limits.workspace_lower - tool, tool - limits.workspace_upper).max()
        nearest = self._nearest_links(positions, truth.gripper_width)
        result.nearest_links = min(result.nearest_links, nearest)
        self._pressed = self._pressed + 1 if above > 0.0 else 0
        result.longest_press = max(result.longest_press, self._pressed * spec.control_period)
        result.lowest_tool = min(result.lowest_tool, float(tool[2]))
        broken = {
            "position": outside > POSITION,
            "velocity": bool((np.abs(truth.joint_velocities) > spec.velocity_limits * (1 + VELOCITY)).any()),
            "workspace": beyond > WORKSPACE,
            "self_distance": nearest < 0.0,
            "contact_force": above > IMPACT * self._blow + _PRESSING,
            "contact_lasts": self._pressed * spec.control_period > PRESS,
        }
        result.arm.update(name for name, is_broken in broken.items() if is_broken)

    def _fastest(self, positions: np.ndarray) -> float:
        """Largest speed [m/s] of a joint's origin or the tool in the last 0.3 s."""
        links, before = self._kinematics.link_positions(positions), self._links_before
        if before is not None:
            self._speeds.append(float(np.linalg.norm(links - before, axis=1).max()) * self._spec.control_rate)
        self._links_before = links
        return max(self._speeds, default=0.0)

    def _nearest_links(self, positions: np.ndarray, width: float) -> float:
        """Least distance of links, by MuJoCo where spheres say that it may be small, and every tenth cycle anyway."""
        if self.result.cycles % 10 and self._check.links_apart(positions) > _CLOSE:
            return _CLOSE
        return self._links.least(positions, width)
