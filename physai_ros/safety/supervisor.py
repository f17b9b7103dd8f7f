"""The safety monitor's decision: what of a proposal may reach the motors, once a control cycle."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.command import CommandSource, SafeCommand
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.set_point import SetPoint
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState
from physai_ros.safety.arbitration import Arbiter, Choice
from physai_ros.safety.commanded import CommandedMotion
from physai_ros.safety.familiarity import FamiliarityWatch
from physai_ros.safety.filter import SafetyFilter
from physai_ros.safety.limits import SafetyConfigurationError, SafetyLimits
from physai_ros.safety.monitoring import StateMonitor
from physai_ros.safety.proposal import joint_reference
from physai_ros.safety.report import SafetyReport
from physai_ros.safety.rules import CONTACT, RELIEVED_FORCE, RELIEVED_TRACKING, rules_of
from physai_ros.safety.separation import UNWATCHED, Separation
from physai_ros.safety.state_machine import SafetyState, SafetyStateMachine
from physai_ros.safety.stopping import StopPlanner, StopVerifier
from physai_ros.safety.surroundings import Surroundings
from physai_ros.safety.tracking import ReferenceTracker

_SILENCE = 0.06  # [s] without a driver state
_JUMP = 0.5  # [s] by which stamps and the steady clock may come apart from one state to the next
_LOST = 1.0  # [s] without a driver state
_FIRST_MOTION_MARGIN = 0.2  # [s] that we go slowly for longer than a driver that counts from what reached it
_ALARM_PATIENCE = 1.0  # [s] that an alarm of the policy only slows the arm


class SafetySupervisor:
    """Decides on every driver state; holds where the command stands and the stop that was verified for it.

    A command is permitted only if a jerk-limited stop from its end state keeps the limits along its whole path. That
    stop travels with the command; it is what is played whenever there is no next command to permit. So there is always
    a way to rest that has been checked.
    """

    def __init__(self, spec: RobotSpec, limits: SafetyLimits, kinematics: Kinematics) -> None:
        self._limits = limits
        self._period = spec.control_period
        surroundings = Surroundings(limits, kinematics)
        self._filter = SafetyFilter(limits, kinematics, self._period, surroundings)
        self._planner = StopPlanner(limits, self._period)
        self._verifier = StopVerifier(limits, kinematics, surroundings)
        self._tracker = ReferenceTracker(limits, self._period)
        self._monitor = StateMonitor(limits, self._period)
        self._machine = SafetyStateMachine(rules_of(limits))
        self._kinematics = kinematics
        self._altered = self._refused = self._decisions = self._foreign = 0
        self._reduced = False
        self._first_motion = self._slow_cycles = 0
        self._separation = UNWATCHED
        self._heeds_alarm = True
        self._forget(SetPoint.at_rest(spec.home_positions))

    def _forget(self, set_point: SetPoint) -> None:
        limits = self._limits
        self._arbiter = Arbiter(limits.lease, limits.proposal_timeout, limits.proposal_age_cycles)
        self._familiarity = FamiliarityWatch(round(_ALARM_PATIENCE / self._period))
        self._monitor.reset()
        self._last: SafeCommand | None = None
        self._measured: np.ndarray | None = None
        self._yield_to: np.ndarray | None = None
        self._last_sequence = -1
        self._now = self._stamp = -np.inf
        self._carried: set[str] = set()
        self._gripper = 1.0
        self._source = CommandSource.HOLD
        self._motion = CommandedMotion(set_point, self._period, limits.command_timeout)
        self._tracker.reset()

    def activate(self, driver_state: DriverState) -> None:
        """Start from what the driver tracks, latched in STOPPED with reason `not_resumed`.

        Raises:
            SafetyConfigurationError: the driver's joints, limits or time-out do not fit ours, or its state is invalid.
        """
        self._limits.check_driver(driver_state)
        self._monitor.reset()
        observed = self._monitor.observe(driver_state)
        if observed.positions is None:
            raise SafetyConfigurationError(
                "the driver's state is invalid (sizes, NaN); correct the driver, then activate"
            )
        self._forget(SetPoint.at_rest(observed.commanded))
        self._gripper = float(np.clip(np.nan_to_num(driver_state.gripper_command, nan=1.0), -1.0, 1.0))
        self._last_sequence = driver_state.sequence - 1  # older proposals do not count, whoever made them
        self._machine.activate("not_resumed")

    def deactivate(self) -> None:
        """Permit nothing until the next `activate`."""
        self._machine.deactivate()

    def emergency_stop(self) -> None:
        """Latch STOPPED; the next decision begins the stop."""
        self._machine.latch("emergency_stop")

    def resume(self) -> tuple[bool, str]:
        """Leave STOPPED for HOLD; returns whether it was done and a message.

        Nothing proposed for a state that was decided on before moves the arm; causes that last stop it again.
        """
        problem = self._machine.resume()
        if problem:
            return False, problem
        self._arbiter.bar(self._last_sequence)
        self._monitor.driver_may_start()
        self._slow_cycles = self._first_motion
        self.answer_alarm()
        self._carried.clear()
        return True, "holding; the arm moves again with the next proposal"

    def set_force_budget(self, newtons: float) -> None:
        """Stop at this force on the tool [N] from now on, and earlier in a phase whose own budget is lower.

        Raises:
            SafetyConfigurationError: it is not a finite number above zero.
        """
        if not np.isfinite(newtons) or newtons <= 0:
            raise SafetyConfigurationError(f"force budget is {newtons!r} N; expected a finite number above zero")
        self._monitor.ceiling = float(newtons)

    def note_late_loop(self) -> None:
        """Hold for a moment: whoever decides was kept from it, and the driver went along the stop meanwhile."""
        self._carried.add("loop_late")

    def heed_alarm(self, heeded: bool) -> None:
        """Whether the alarm of a policy slows and holds the arm."""
        self._heeds_alarm = heeded

    def answer_alarm(self) -> None:
        """Let the policy go on that asked for an operator: somebody has looked."""
        self._familiarity.answer()

    def set_separation(self, separation: Separation) -> None:
        """Go at most at this share of the speed limits; at none of it, hold."""
        self._separation = separation

    def set_first_motion(self, seconds: float) -> None:
        """Go at reduced speed until the command has moved for `seconds` after every `resume`; 0: at full speed."""
        self._first_motion = round((seconds + _FIRST_MOTION_MARGIN) / self._period) if seconds > 0 else 0
        self._slow_cycles = self._first_motion

    def set_reduced_speed(self, reduced: bool) -> None:
        """Go at the limits' `reduced_scale` of speed, or at full speed again."""
        self._reduced = reduced

    def note_foreign_command(self) -> None:
        """Count a safe_command that somebody else published."""
        self._foreign += 1

    def watch(self, now: float) -> SafetyState:
        """State at `now` [s] while no driver state comes: HOLD after 60 ms, STOPPED after 1 s. For paced mode only."""
        silence = now - self._now
        if np.isfinite(silence) and silence > _LOST:
            self._machine.latch("driver_lost")
        elif np.isfinite(silence) and silence > _SILENCE and self._machine.state != SafetyState.STOPPED:
            return self._machine.update({"driver_silent"})
        return self._machine.state

    def decide(
        self, driver_state: DriverState, proposal: RobotAction | None, intervention: Intervention | None, now: float
    ) -> SafeCommand:
        """Command that answers `driver_state`; a state that was answered before gets the same answer again.

        `proposal` and `intervention` are the newest that came; their age is judged here. `now` [s] is on the clock that
        time-outs count on: steady when paced, the simulated stamp in lock-step.

        Raises:
            SafetyConfigurationError: the supervisor is not active.
        """
        if self._machine.state == SafetyState.INACTIVE:
            raise SafetyConfigurationError(
                "the safety supervisor is not active; call activate with a driver state first"
            )
        sequence = driver_state.sequence
        if self._last is not None and sequence == self._last_sequence:
            return self._last
        conditions = self._carried
        self._carried = set()
        # Of a clock that was set the stamps tell, forwards as well as back; no time-out counts on them.
        if now < self._now or abs(driver_state.stamp - self._stamp - (now - self._now)) > _JUMP:
            conditions.add("clock_jump")
        self._now, self._stamp = now, driver_state.stamp
        self._follow_driver(driver_state, conditions)
        choice = self._arbiter.choose(intervention, proposal, sequence, now)
        if self._heeds_alarm:
            conditions |= self._familiarity.observe(choice)
        reference, refusal = self._reference(choice)
        if refusal:
            conditions.add(refusal)
        if self._reduced:
            conditions.add("reduced_speed")
        if self._slow_cycles:
            conditions.add("first_motion")
            self._slow_cycles -= not self._motion.at_rest
        if self._separation.condition:
            conditions.add(self._separation.condition)
        state = self._machine.update(conditions)
        reasons: tuple[str, ...] = ()
        permitted = False
        if reference is not None and state <= SafetyState.LIMITED:
            permitted, reasons = self._permit(reference, choice)
        if not permitted:
            self._tracker.reset()
            if not self._relieve():
                self._motion.play_stop()
            reasons = (*self._machine.reasons, *(name for name in reasons if name not in self._machine.reasons))
        self._last_sequence = sequence
        self._last = self._command(driver_state, choice, reference, permitted, reasons)
        return self._last

    def status(self) -> SafetyReport:
        """State, reasons, margins and counters."""
        return SafetyReport(
            state=self._machine.state,
            reasons=self._machine.reasons,
            source=self._source,
            margins=self._margins(),
            decisions=self._decisions,
            altered=self._altered,
            refused=self._refused,
            stops=self._machine.stops,
            foreign_commands=self._foreign,
        )

    @property
    def state(self) -> SafetyState:
        """State of the monitor, without the work of `status`."""
        return self._machine.state

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names behind the state, the most restrictive first."""
        return self._machine.reasons

    @property
    def set_point(self) -> SetPoint:
        """Where the command stands."""
        return self._motion.set_point

    def _follow_driver(self, state: DriverState, conditions: set[str]) -> None:
        """Collect what is observed of the driver, and bring our set-point to where the driver's is."""
        observed = self._monitor.observe(state)
        self._measured = observed.positions
        conditions |= observed.conditions
        usable = observed.commanded is not None
        if usable and not conditions.isdisjoint({"driver_restarted", "driver_not_active"}):
            self._stand(SetPoint.at_rest(observed.commanded))
            if "driver_restarted" in conditions:
                self._arbiter.bar(state.sequence)
            return
        if self._last is not None:
            self._motion.play_missed(state.sequence - self._last_sequence - 1)
        if usable and not self._motion.knows(observed.commanded):
            self._stand(SetPoint.at_rest(observed.commanded))
            self._arbiter.bar(state.sequence - 1)
            conditions.add("set_point_moved")
            if state.lock_step:
                # A simulator was reset: what was touched is far away, and no episode may depend on the one before.
                self._machine.forget()
                self._monitor.forget_gripper()

    def _reference(self, choice: Choice) -> tuple[np.ndarray | None, str]:
        """Joint reference of the chosen action in our order of joints, or why there is none."""
        if choice.action is None:
            return None, choice.reason
        reference, problem = joint_reference(choice.action, self._limits.joint_names)
        if reference is not None and self._filter.refusal(reference):
            problem = "proposal_not_finite"
        if problem:
            self._refused += 1
            return None, problem
        return reference, ""

    def _permit(self, reference: np.ndarray, choice: Choice) -> tuple[bool, tuple[str, ...]]:
        """Move the set-point towards the reference if a verified stop can follow; says what limited it."""
        target = self._tracker.target(reference, choice.action.state_sequence, self._motion.set_point)
        scale = min(self._separation.scale, self._limits.reduced_scale if self._machine.slowed else 1.0)
        tool_speed = self._limits.reduced_tool_speed if self._machine.slowed else np.inf
        reasons, refusal = self._move(target, scale, tool_speed, self._measured)
        if refusal:
            self._carried.add(refusal)
            return False, (refusal, *reasons)
        self._gripper = min(max(float(choice.action.gripper_command), -1.0), 1.0)
        if target is not reference and not reasons and not self._met(reference):
            reasons = ("acceleration",)
        if set(reasons) - {"acceleration", "jerk"}:
            # Following a step a little later is no restriction of where the arm may go or how fast.
            self._carried.add("altered")
        return True, reasons

    def _move(
        self, target: np.ndarray, scale: float, tool_speed: float, measured: np.ndarray | None = None
    ) -> tuple[tuple[str, ...], str]:
        """Move the set-point towards `target`; says what limited it, and why it did not move, empty if it did.

        An arm that is `measured` (n_joints,) [rad] must be able to come after it.
        """
        now = self._motion.set_point
        projection = self._filter.project(target, now, scale, tool_speed)
        if projection.positions is None:
            return projection.reasons, "filter_infeasible"
        after = now.followed_by(projection.positions, self._period)
        stop = self._planner.plan(after)
        problem = "no_stop" if stop is None else self._verifier.problem(stop, after, now.positions, measured)
        if problem:
            return (problem,), "stop_not_verified"
        self._motion.advance(after, stop)
        return projection.reasons, ""

    def _relieve(self) -> bool:
        """Stopped where something presses, yield to where the arm was pushed; returns whether it does.

        A set-point that rests behind what it touches would press for ever. Measured positions lie on the free side.
        """
        goal = None
        if self._machine.state == SafetyState.STOPPED and self._measured is not None:
            goal = self._free_side(set(self._machine.reasons), self._measured)
        may_begin = self._yield_to is not None or self._motion.at_rest
        self._yield_to = goal if may_begin else None
        if self._yield_to is None:
            return False
        target = self._tracker.target(self._yield_to, self._last_sequence + 1, self._motion.set_point)
        if self._move(target, self._limits.reduced_scale, self._limits.reduced_tool_speed)[1]:
            self._yield_to = None
        return self._yield_to is not None

    def _free_side(self, reasons: set[str], measured: np.ndarray) -> np.ndarray | None:
        """Where to yield to from the arm's `measured` positions, for these reasons of a stop; None: nowhere.

        While a force is felt, to wherever the arm is. By joint positions alone, to where it was at first: an encoder
        that slipped would lead on and on.
        """
        monitor = self._monitor
        if reasons & CONTACT and monitor.force > RELIEVED_FORCE * monitor.force_budget:
            return measured
        displaced = monitor.tracking_error > RELIEVED_TRACKING * self._limits.tracking_error
        if reasons & {"pushed_aside", "tracking_error_sustained"} and (displaced or self._yield_to is not None):
            return measured if self._yield_to is None else self._yield_to
        return None

    def _stand(self, set_point: SetPoint) -> None:
        self._motion.stand(set_point)
        self._tracker.reset()

    def _met(self, reference: np.ndarray) -> bool:
        return max(np.abs(self._motion.set_point.positions - reference).tolist()) <= 1e-9

    def _command(
        self,
        state: DriverState,
        choice: Choice,
        reference: np.ndarray | None,
        permitted: bool,
        reasons: tuple[str, ...],
    ) -> SafeCommand:
        motion = self._motion
        if permitted:
            self._source = choice.source
        elif motion.at_rest and self._machine.state != SafetyState.STOPPED:
            self._source = CommandSource.HOLD
        else:
            self._source = CommandSource.STOP
        altered = reference is not None and not (permitted and self._met(reference))
        self._decisions += 1
        self._altered += altered
        motion.note_sent()
        return SafeCommand(
            stamp=state.stamp,
            sequence=self._decisions,
            state_sequence=state.sequence,
            proposed_sequence=choice.action.sequence if reference is not None else 0,
            joint_names=self._limits.joint_names,
            positions=motion.set_point.positions.copy(),
            velocities=motion.set_point.velocities.copy(),
            gripper_command=self._gripper,
            valid_for=self._limits.command_timeout,
            source=self._source,
            stop=motion.stop,
            episode_id=choice.action.episode_id if reference is not None else "",
            altered=altered,
            reasons=reasons,
        )

    def _margins(self) -> dict[str, float]:
        limits, now = self._limits, self._motion.set_point
        half = (limits.position_upper - limits.position_lower) / 2.0
        room = np.minimum(limits.position_upper - now.positions, now.positions - limits.position_lower)
        around, between = self._verifier.clearance(now.positions)
        speed = float(np.linalg.norm(self._kinematics.jacobian(now.positions)[:3] @ now.velocities))
        shares = {
            "position": float((room / half).min()),
            "velocity": 1.0 - float((np.abs(now.velocities) / limits.velocity).max()),
            "tool_speed": 1.0 - speed / limits.tool_speed,
            "workspace": around / 0.2,
            "self_distance": between / 0.2,
            "contact_force": 1.0 - self._monitor.force / self._monitor.force_budget,
            "tracking_error": 1.0 - self._monitor.tracking_error / limits.tracking_error,
        }
        return {name: float(np.clip(share, 0.0, 1.0)) for name, share in shares.items()}
