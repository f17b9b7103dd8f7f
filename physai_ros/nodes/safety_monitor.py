"""Permits: answers driver states with the commands that may reach the motors."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from std_msgs.msg import Float32
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from physai_ros import msg
from physai_ros.experience.episode import EpisodeContext, Phase, Purpose
from physai_ros.robot.command import CommandSource, SafeCommand
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode, DriverState, is_overtaken
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.conversions_safety import safety_status_message
from physai_ros.ros.driver_link import DriverLink, DriverLinkError
from physai_ros.ros.lifecycle import ERROR, OK, WARN, ManagedNode, run
from physai_ros.ros.parameters import parameter
from physai_ros.ros.safety_markers import SafetyMarkers
from physai_ros.safety.audit import AuditLog
from physai_ros.safety.journal import SafetyJournal
from physai_ros.safety.limits import SafetyConfigurationError, SafetyLimits
from physai_ros.safety.lock_step import LockStepGate
from physai_ros.safety.separation import PersonWatch, ProtectiveSeparation
from physai_ros.safety.state_machine import SafetyState
from physai_ros.safety.supervisor import SafetySupervisor

_WATCH = 0.02  # [s] of the watchdog's period
_KEEPS_UP = 3  # states that the policy's newest word may lie behind: where all were late, it has not fallen silent
_LATE = 0.06  # [s] after which the watchdog itself comes too late: this process was kept from its work


@dataclass(frozen=True)
class Parameters:
    """Parameters of the safety monitor."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    auto_resume: bool = parameter(True, "Resume by itself when it claims a driver that nobody claimed before.")
    force_budget: float = parameter(60.0, "Force on the tool that stops the arm [N].", minimum=1.0, maximum=1000.0)
    tool_speed: float = parameter(1.0, "Largest speed of the tool [m/s].", minimum=0.01, maximum=10.0)
    tracking_error: float = parameter(0.3, "Largest distance from the set-point [rad].", minimum=0.001, maximum=3.0)
    servo_lag: float = parameter(
        0.08, "How late the arm follows its set-point [s]; 0: corners it cuts are not seen.", minimum=0.0, maximum=1.0
    )
    position_margin: float = parameter(0.01, "Taken off both ends of every joint [rad].", minimum=0.0, maximum=0.5)
    velocity_margin: float = parameter(0.05, "Share taken off every joint's speed.", minimum=0.0, maximum=0.9)
    workspace_lower: tuple[float, ...] = parameter((), "Lower corner x, y, z of the tool's box [m]; empty: default.")
    workspace_upper: tuple[float, ...] = parameter((), "Upper corner x, y, z of the tool's box [m]; empty: default.")
    reduced_speed: bool = parameter(False, "Go at a quarter of the speed limits.")
    first_motion: float = parameter(
        0.0, "Motion at reduced speed after every start and resume [s]; 0: none.", minimum=0.0, maximum=600.0
    )
    heed_alarm: bool = parameter(
        True, "Slow down, hold and ask for the operator when the policy's alarm is raised (only where it has one)."
    )
    person_distance: bool = parameter(
        False, "Scale the speed by the distance [m] on person_distance; silence counts as a person who is near."
    )
    person_speed: float = parameter(1.6, "Speed at which a person comes nearer [m/s].", minimum=0.0, maximum=5.0)
    person_reaction: float = parameter(0.1, "From measuring a person to braking [s].", minimum=0.0, maximum=2.0)
    person_margin: float = parameter(0.2, "Reach and uncertainty, C + Z_d + Z_r [m].", minimum=0.0, maximum=5.0)
    person_timeout: float = parameter(0.2, "Age from which a distance is silence [s].", minimum=0.01, maximum=5.0)
    sink_without_timeout: str = parameter(
        "", "Why a driver without a time-out of its own is accepted; empty: it is not."
    )
    audit_log: str = parameter("", "File to which every intervention and stop is appended; empty: none is kept.")
    proposal_patience: float = parameter(
        0.6,
        "Paced: for how much of a control period the decision on a state waits for a policy that keeps up, so that "
        "the command answers this state and not the one before; 0: not at all.",
        minimum=0.0,
        maximum=0.9,
    )
    driver_timeout: float = parameter(10.0, "Patience with the driver's services [s].", minimum=0.1, maximum=30.0)


class SafetyMonitor(ManagedNode):
    """A thin shell round `SafetySupervisor`; it alone holds the driver's token."""

    node_name = "safety_monitor"
    Parameters = Parameters

    def configure(self) -> None:
        """Build limits and supervisor."""
        p = self.parameters
        spec = RobotSpec.load(p.robot)
        given = {name: getattr(p, name) for name in ("workspace_lower", "workspace_upper") if getattr(p, name)}
        limits = SafetyLimits.from_spec(
            spec,
            position_margin=p.position_margin,
            velocity_margin=p.velocity_margin,
            force_budget=p.force_budget,
            tool_speed=p.tool_speed,
            tracking_error=p.tracking_error,
            servo_lag=p.servo_lag,
            sink_without_timeout=p.sink_without_timeout,
            **given,
        )
        kinematics = Kinematics(spec)
        self._supervisor = SafetySupervisor(spec, limits, kinematics)
        self._supervisor.set_reduced_speed(p.reduced_speed)
        self._supervisor.set_first_motion(p.first_motion)
        self._picture = SafetyMarkers(spec.base_frame, limits, kinematics)
        self._journal = SafetyJournal(AuditLog(p.audit_log) if p.audit_log else None)
        self._supervisor.heed_alarm(p.heed_alarm)
        self._person: PersonWatch | None = None
        if p.person_distance:
            separation = ProtectiveSeparation.of_limits(
                limits, person_speed=p.person_speed, reaction_time=p.person_reaction, margin=p.person_margin
            )
            self._person = PersonWatch(separation, p.person_timeout)
            self.subscribe(Float32, "person_distance", self._on_person, qos.CONTROL)
        self._link = DriverLink(self, p.driver_timeout)
        self._commands = self.publisher(msg.SafeCommand, "safe_command", qos.CONTROL_WRITER)
        self._status = self.publisher(msg.SafetyStatus, "safety_status", qos.EVENT)
        self._markers = self.publisher(MarkerArray, "markers", qos.EVENT)
        self._timed_answer = self.time_cycles(spec.control_period, self._answer_state)
        self.subscribe(msg.DriverState, "driver_state", self._on_state, qos.CONTROL)
        self.subscribe(msg.RobotAction, "proposed_action", self._on_proposal, qos.CONTROL)
        self.subscribe(msg.Intervention, "intervention", self._on_intervention, qos.INTERVENTION)
        self.subscribe(msg.EpisodeContext, "episode", self._on_episode, qos.LATCHED)
        self.subscribe(msg.SafeCommand, "safe_command", self._on_command, qos.SENSOR_RECORD, raw=True, patient=True)
        self.serve(Trigger, "emergency_stop", self._emergency_stop)
        self.serve(Trigger, "resume", self._resume)
        self.every(_WATCH, self._watch)
        self.every(0.1, self._heartbeat)
        self._patience = self.every((p.proposal_patience or 1.0) * spec.control_period, self._decide_without)
        self._patience.cancel()
        self._token = ""
        self._own_tokens: list[bytes] = []
        self._foreign = self._late = 0
        self._episode = EpisodeContext()
        self._forget()

    def activate(self) -> None:
        """Claim the driver and compare limits; stay STOPPED unless nobody had claimed it before."""
        fresh = self._link.state().mode == DriverMode.IDLE
        self._claim()
        if fresh and self.parameters.auto_resume:
            self._link.resume()
            self._supervisor.resume()
        else:
            self.get_logger().warning("the driver was claimed before: STOPPED until resume is called")
        self._journal.note(
            "activated", fresh=fresh, robot=self.parameters.robot, sink=self.parameters.sink_without_timeout
        )
        self._publish_status()

    def deactivate(self) -> None:
        """Permit nothing; the driver plays the last verified stop."""
        self._supervisor.deactivate()
        self._publish_status()
        self._journal.note("deactivated")
        self._token = ""
        self._forget()

    def cleanup(self) -> None:
        """Close the link to the driver and the log."""
        if hasattr(self, "_link"):
            self._link.close()
            del self._link
        if hasattr(self, "_journal"):
            self._journal.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """State, reasons and counters."""
        if not self.active:
            return super().diagnose()
        report = self._supervisor.status()
        level = {SafetyState.NOMINAL: OK, SafetyState.LIMITED: OK, SafetyState.STOPPED: ERROR}.get(report.state, WARN)
        names = ("decisions", "altered", "refused", "stops", "foreign_commands")
        values = {"reasons": ", ".join(report.reasons), **{name: getattr(report, name) for name in names}}
        values |= {f"margin_{name}": f"{share:.3f}" for name, share in report.margins.items()}
        values["late_loops"] = self._late
        problem, audit = self._journal.health
        text = f"{report.state.name.lower()}; {problem}" if problem else report.state.name.lower()
        return (max(level, WARN) if problem else level), text, {**values, **audit}

    def _forget(self) -> None:
        self._state: DriverState | None = None
        self._answer: msg.SafeCommand | None = None
        self._command: SafeCommand | None = None
        self._waiting = False
        self._gate = LockStepGate()
        self._watched = time.monotonic()
        self._expect()

    def _claim(self) -> None:
        self._forget()
        self._token = self._link.claim()
        # Ours may still be on the way with the token before.
        self._own_tokens = [*self._own_tokens[-1:], self._token.encode()]
        self._supervisor.activate(self._link.state())

    def _on_state(self, message: msg.DriverState) -> None:
        if self._answer is not None and is_overtaken(message.sequence, self._answer.state_sequence):
            if message.lock_step and message.sequence == self._answer.state_sequence:
                self._commands.publish(self._answer)  # the driver asks again
            return
        self.cycle_times.paced = not message.lock_step
        self._state = from_message(message)
        if self._keeps_up():
            self._waiting = True
            self._patience.reset()
        else:
            self._decide()

    def _keeps_up(self) -> bool:
        """Whether the proposal for the state that has just come is worth a moment's wait."""
        state, proposal = self._state, self._gate.proposal
        if self._waiting or state.lock_step or not self.parameters.proposal_patience:
            return False
        if proposal is None or not 0 < state.sequence - proposal.state_sequence <= _KEEPS_UP:
            return False
        # Not while an operator drives or a stop is played. At rest, the policy's first word has come meanwhile.
        return self._command is not None and self._command.source in (CommandSource.POLICY, CommandSource.HOLD)

    def _decide_without(self) -> None:
        """The proposal is late: go on with what there is."""
        if self._waiting:
            self._decide()

    def _on_person(self, message: Float32) -> None:
        self._person.hear(message.data, time.monotonic())

    def _on_proposal(self, message: msg.RobotAction) -> None:
        self._gate.hear_proposal(from_message(message))
        if self._waiting and message.state_sequence == self._state.sequence:
            self._decide()
        else:
            self._decide_if_waiting()

    def _on_intervention(self, message: msg.Intervention) -> None:
        self._gate.hear_intervention(from_message(message))
        self._decide_if_waiting()

    def _on_episode(self, message: msg.EpisodeContext) -> None:
        self._episode = from_message(message)
        self._expect()
        self._decide_if_waiting()

    def _expect(self) -> None:
        """Whoever may intervene in the episode is waited for from its first state on."""
        episode = self._episode
        helped = episode.phase == Phase.RUNNING and episode.purpose != Purpose.EVALUATE
        self._gate.hear_episode(episode.episode_id, helped and self.count_publishers("intervention") > 0)

    def _on_command(self, raw: bytes) -> None:
        if not any(token in raw for token in self._own_tokens):
            self._supervisor.note_foreign_command()
            self._foreign += 1
            self.get_logger().error("somebody else publishes safe_command", throttle_duration_sec=1.0)

    def _decide_if_waiting(self) -> None:
        state = self._state
        answered = self._answer is not None and state is not None and self._answer.state_sequence == state.sequence
        if state is not None and state.lock_step and not answered:
            self._decide()

    def _decide(self) -> None:
        state = self._state
        if not state.lock_step or self._gate.is_open(state.sequence, state.stamp, time.monotonic()):
            self._timed_answer()

    def _answer_state(self) -> None:
        state, gate = self._state, self._gate
        if self._waiting:
            self._waiting = False
            self._patience.cancel()
        before = self._supervisor.state
        if self._person is not None:
            self._supervisor.set_separation(self._person.at(time.monotonic()))
        if state.lock_step:
            now, intervention = state.stamp, gate.intervention_for(state.sequence)
        else:
            now, intervention = time.monotonic(), gate.intervention
        command = self._supervisor.decide(state, gate.proposal, intervention, now)
        command.token = self._token
        self._answer, self._command = to_message(command), command
        self._commands.publish(self._answer)
        if command.source == CommandSource.POLICY and gate.proposal is not None:
            self.cycle_times.add_age(state.stamp - gate.proposal.observation_stamp)
        operator = command.source == CommandSource.OPERATOR
        self._journal.decision(command, intervention.action if operator else gate.proposal)
        if self._supervisor.state != before:
            self._publish_status()
        else:
            self._note_state()

    def _watch(self) -> None:
        now, before = time.monotonic(), self._watched
        self._watched = now
        if self._state is None:
            return
        if self._state.lock_step:
            self._decide_if_waiting()
        elif now - before > _LATE:
            self._supervisor.note_late_loop()  # and what waits to be read says whether the driver was silent
            self._late += 1
        else:
            before = self._supervisor.state
            if self._supervisor.watch(now) != before:
                self._publish_status()

    def _publish_status(self) -> None:
        report = self._supervisor.status()
        self._status.publish(safety_status_message(report, self.now()))
        self._note_state()
        if "operator_needed" in report.reasons:
            self.get_logger().warning(
                "the policy's alarm lasts: take over, end the episode, or call resume to let it go on",
                throttle_duration_sec=5.0,
            )

    def _heartbeat(self) -> None:
        self._publish_status()
        if self._foreign:
            self._journal.note("foreign_commands", count=self._foreign)
            self._foreign = 0
        if self._markers.get_subscription_count():
            report, proposal = self._supervisor.status(), self._gate.proposal
            self._markers.publish(self._picture.array(report, self._command, proposal, self.now(), self._state))

    def _note_state(self) -> None:
        sequence = self._state.sequence if self._state is not None else 0
        self._journal.state(self._supervisor.state, self._supervisor.reasons, state_sequence=sequence)

    def _emergency_stop(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._supervisor.emergency_stop()
        self._journal.note("emergency_stop_called")
        self._publish_status()
        response.success, response.message = True, "stopping; call resume to start again"
        return response

    def _resume(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._supervisor.state != SafetyState.STOPPED:
            self._supervisor.answer_alarm()
            response.success, response.message = True, "not stopped"
            return response
        try:
            # A fresh claim: the driver may have restarted, or another monitor may have taken it.
            self._claim()
            self._link.resume()
            response.success, response.message = self._supervisor.resume()
        except (DriverLinkError, SafetyConfigurationError) as error:
            response.message = str(error)
        self._journal.note("resume_called", done=response.success, message=response.message)
        self._publish_status()
        return response


def main() -> int:
    """Exit code of the safety monitor's process."""
    return run(SafetyMonitor)


if __name__ == "__main__":
    sys.exit(main())
