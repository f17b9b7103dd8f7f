"""Faults of messages: not finite, wrong size, random, old, doubled, out of order, lost, cut, or from a stranger."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

from physai_ros import msg, srv
from physai_ros.cli.fault import DRIVER_DETECTION, Ending, Fault
from physai_ros.cli.fault_record import DRIVER_STOPS
from physai_ros.cli.fault_relay import TOPICS, Change, dropped, edited
from physai_ros.cli.fault_rig import OBJECT_TIMEOUT, Rig
from physai_ros.ros.stamps import seconds_of, set_time

LOSS = 0.3
_REFUSED = "nothing forwarded; hold with the reason"


def _changed(*topics: str, change: Callable[[np.random.Generator], Change]) -> Callable[[Rig], AbstractContextManager]:
    def bring_about(rig: Rig) -> AbstractContextManager:
        return rig.relay.changing(*topics, change=change(np.random.default_rng(rig.seed)))

    return bring_about


def _edited(topic: str, edit: Callable[[object], None]) -> Callable[[Rig], AbstractContextManager]:
    return _changed(topic, change=lambda _generator: edited(TOPICS[topic], edit))


def _fill(name: str, value: float) -> Callable[[object], None]:
    def edit(message: object) -> None:
        setattr(message, name, [value] * len(getattr(message, name)))

    return edit


def _shorten(name: str) -> Callable[[object], None]:
    def edit(message: object) -> None:
        setattr(message, name, list(getattr(message, name))[:-1])

    return edit


def _wild(generator: np.random.Generator) -> Change:
    def edit(message: msg.RobotAction) -> None:
        message.reference_positions = generator.uniform(-10.0, 10.0, len(message.reference_positions)).tolist()
        message.gripper_command = float(generator.normal(0.0, 10.0))

    return edited(msg.RobotAction, edit)


def _aged(cycles: int) -> Callable[[object], None]:
    def edit(message: msg.RobotAction) -> None:
        message.state_sequence = max(0, message.state_sequence - cycles)
        stamp = message.header.stamp
        set_time(stamp, seconds_of(stamp) - 0.01 * cycles)

    return edit


def _jump(seconds: float) -> Callable[[object], None]:
    def edit(message: msg.DriverState) -> None:
        set_time(message.header.stamp, seconds_of(message.header.stamp) + seconds)

    return edit


def _lossy(generator: np.random.Generator) -> Change:
    return lambda data: [] if generator.random() < LOSS else [data]


def _doubled(_generator: np.random.Generator) -> Change:
    return lambda data: [data, data, data]


def _reordered(_generator: np.random.Generator) -> Change:
    """Every second message is overtaken by the one after it."""
    kept: list[bytes] = []

    def change(data: bytes) -> list[bytes]:
        if kept:
            return [data, kept.pop()]
        kept.append(data)
        return []

    return change


@contextmanager
def _publishing(rig: Rig, make: Callable[[int], None], period: float = 0.01) -> Iterator[None]:
    """Call `make` with a count every `period` [s] from a thread while the block lasts."""
    over = threading.Event()

    def work() -> None:
        for count in itertools.count():
            make(count)
            if over.wait(period):
                return

    thread = threading.Thread(target=work, name="intruder", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=2.0)


@contextmanager
def _foreign_commands(rig: Rig) -> Iterator[None]:
    """A stranger commands the arm: well-formed, ahead of ours in sequence, with a token of its own."""
    monitor = rig.monitor

    def make(count: int) -> None:
        forged = msg.SafeCommand()
        for name in forged.get_fields_and_field_types():
            setattr(forged, name, getattr(monitor.command, name))
        forged.token = "0" * 32
        forged.sequence = monitor.command.sequence + 1000 + count
        forged.positions = [value + 0.02 for value in monitor.command.positions]
        rig.command_writer.publish(forged)

    with _publishing(rig, make):
        yield


def _refusals(rig: Rig) -> Callable[[], bool]:
    before = rig.monitor.driver.commands_refused
    return lambda: rig.monitor.driver.commands_refused > before


@contextmanager
def _foreign_claim(rig: Rig) -> Iterator[None]:
    """A stranger takes the driver away from safety."""
    rig.claim.call_async(srv.ClaimDriver.Request(claimant="a stranger"))
    yield


def _interventions(fill: Callable[[msg.RobotAction], None]) -> Callable[[Rig], AbstractContextManager]:
    """Somebody at the enable switch whose device sends what nobody can do."""

    @contextmanager
    def bring_about(rig: Rig) -> Iterator[None]:
        monitor = rig.monitor

        def make(count: int) -> None:
            state = monitor.driver
            word = msg.Intervention(enable=True, lease=0.2, operator_name="broken device")
            word.header.stamp = state.header.stamp
            word.action = msg.RobotAction(sequence=count + 1, state_sequence=state.sequence)
            word.action.header.stamp = state.header.stamp
            word.action.joint_names = list(state.joint_names)
            word.action.reference_positions = list(state.commanded_positions)
            word.action.joint_delta = [0.0] * len(state.joint_names)
            word.action.gripper_command = 1.0
            fill(word.action)
            rig.intervention_writer.publish(word)

        with _publishing(rig, make, period=0.02):
            yield

    return bring_about


@contextmanager
def _emergency_stop(rig: Rig) -> Iterator[None]:
    rig.stop_safety.call_async(rig.trigger)
    yield


@contextmanager
def _driver_emergency_stop(rig: Rig) -> Iterator[None]:
    rig.stop_driver.call_async(rig.trigger)
    yield


def _hold(name: str, bring_about: Callable[[Rig], AbstractContextManager], *reasons: str, **more: float) -> Fault:
    return Fault(name, _REFUSED, Ending.RESTS, bring_about, reasons, **more)


def _on(name: str, expected: str, bring_about: Callable[[Rig], AbstractContextManager], **more: object) -> Fault:
    return Fault(name, expected, Ending.GOES_ON, bring_about, **more)


FAULTS = (
    _on("nothing", "no hold for 20 s: what is reported below is not there without a fault", nullcontext, held=20.0),
    _hold("proposal_nan", _edited("proposed_action", _fill("reference_positions", np.nan)), "proposal_not_finite"),
    _hold("proposal_inf", _edited("proposed_action", _fill("reference_positions", np.inf)), "proposal_not_finite"),
    _hold("proposal_wrong_size", _edited("proposed_action", _shorten("reference_positions")), "proposal_malformed"),
    _hold("proposal_wrong_joints", _edited("proposed_action", _shorten("joint_names")), "proposal_malformed"),
    _hold("proposal_old", _edited("proposed_action", _aged(100)), "proposal_stale", "proposal_awaited"),
    _on(
        "proposal_random",
        "every set-point inside the limits; stopped at most for contact",
        _changed("proposed_action", change=_wild),
        may_hold=True,
        may_stop=True,
        held=0.5,
    ),
    _on("proposal_doubled", "control unaffected", _changed("proposed_action", change=_doubled)),
    _on("proposal_reordered", "goes on; what was overtaken is dropped", _changed("proposed_action", change=_reordered)),
    _hold("state_nan", _edited("driver_state", _fill("joint_positions", np.nan)), "state_invalid"),
    _hold("state_wrong_size", _edited("driver_state", _shorten("joint_velocities")), "state_invalid"),
    _on("state_doubled", "control unaffected", _changed("driver_state", change=_doubled)),
    _on(
        "state_reordered",
        "goes on; what was overtaken is dropped, and no restart is taken for it",
        _changed("driver_state", change=_reordered),
        may_hold=True,
    ),
    _hold("state_cut", _changed("driver_state", change=lambda _: dropped), "driver_silent", "driver_lost"),
    Fault(
        "command_cut",
        "the driver plays the verified stop and latches",
        Ending.RESTS,
        _changed("safe_command", change=lambda _: dropped),
        (DRIVER_STOPS,),
        detection=DRIVER_DETECTION,
    ),
    _hold("clock_forward", _edited("driver_state", _jump(3600.0)), "clock_jump"),
    _hold("clock_back", _edited("driver_state", _jump(-3600.0)), "clock_jump"),
    Fault(
        "camera_stale",
        "hold within the objects' time-out and the action time-out; diagnostics name the modality",
        Ending.RESTS,
        _changed("objects", change=lambda _: dropped),
        ("proposal_stale",),
        detection=OBJECT_TIMEOUT + 0.1,
    ),
    _hold("intervention_nan", _interventions(_fill("reference_positions", np.nan)), "proposal_not_finite"),
    _hold("intervention_wrong_size", _interventions(_shorten("reference_positions")), "proposal_malformed"),
    *(
        _on(
            f"loss_{topic}",
            f"{LOSS:.0%} lost: goes on, at most with short holds",
            _changed(topic, change=_lossy),
            may_hold=True,
        )
        for topic in ("driver_state", "proposed_action", "safe_command")
    ),
    Fault(
        "loss_everywhere",
        f"{LOSS:.0%} lost on every hop: slow or at rest, never outside limits",
        Ending.GOES_ON,
        _changed(*TOPICS, change=_lossy),
        may_hold=True,
        may_stop=True,
    ),
    _on(
        "foreign_command",
        "refused and reported; goes on",
        _foreign_commands,
        noticed=_refusals,
        may_hold=True,
    ),
    _hold("foreign_claim", _foreign_claim, "driver_stopped", DRIVER_STOPS),
    Fault(
        "stop_safety",
        "emergency_stop of safety: deceleration begins within two cycles",
        Ending.RESTS,
        _emergency_stop,
        ("emergency_stop",),
        cycles=2,
    ),
    Fault(
        "stop_driver",
        "emergency_stop of the driver: deceleration begins within two cycles",
        Ending.RESTS,
        _driver_emergency_stop,
        (DRIVER_STOPS,),
        cycles=2,
    ),
)
