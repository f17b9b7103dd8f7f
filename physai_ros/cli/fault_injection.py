"""Bringing one fault about in the live graph, and judging what became of it."""

from __future__ import annotations

import math
import time

from physai_ros.cli.fault import Ending, Fault
from physai_ros.cli.fault_pulse import DISTURBED, Pulse
from physai_ros.cli.fault_record import Findings
from physai_ros.cli.fault_rig import Rig, wait_until
from physai_ros.cli.fault_row import FaultRow
from physai_ros.cli.live_graph import STARTED, resume_until_moving
from physai_ros.experience.store import EpisodeStore
from physai_ros.msg import SafetyStatus

_SPEED = 0.8  # share of its permitted speed at which the arm must move when a fault comes
_LEAP = 1.05  # share of what a late command may make good for that a step of the set-point may take
_START = 5e-3  # [rad] what acceleration allows in the first three cycles
_OFF_PATH = 5e-3  # [rad]
_ATTEMPTS = 4
_OPPORTUNITY = 240.0  # [s] in which a young episode with a fast arm comes: one may have just grown old, then the next
_EPISODE = 190.0  # [s] that an episode of the rig lasts for sure: its end is no reaction to a fault


def bring_about(fault: Fault, turn: int, rig: Rig, pulse: Pulse, delay: float) -> FaultRow:
    """What became of a fault; one that failed while the machine was late, or did not come about, is tried again."""
    for attempt in range(_ATTEMPTS):
        began = time.monotonic()
        try:
            row = _inject(fault, turn, rig, delay)
        except TimeoutError as error:
            row = _not_brought_about(fault, turn, str(error))
        late = pulse.lateness(began, time.monotonic())
        row.disturbed, row.late_ms = attempt, 1e3 * late
        if row.passed or (late < DISTURBED and not math.isnan(row.speed_share)):
            break
    return row


def _inject(fault: Fault, turn: int, rig: Rig, delay: float) -> FaultRow:
    """Bring a fault about at full speed, or `delay` [s] from now whatever the arm does, and see what becomes of it."""
    monitor, record = rig.monitor, rig.record
    if not resume_until_moving(monitor, STARTED):
        raise TimeoutError(f"the policy did not move the arm within {STARTED:g} s; see {rig.graph.run / 'logs'}")
    rig.note_pids()
    if delay:
        wait_until(_never, delay)
    elif not _gets_fast(rig, fault.held):
        reasons = ", ".join(monitor.safety.reasons) or "nothing"
        raise TimeoutError(
            f"the arm did not reach {_SPEED:.0%} of its permitted speed within {_OPPORTUNITY:g} s; "
            f"now at {record.share:.0%}, safety says {reasons}, episode {monitor.episode.episode_id}"
        )
    share, noticed = record.share, _never
    if fault.noticed is not None:
        noticed = fault.noticed(rig)
    began = time.monotonic()
    with fault.bring_about(rig):
        notice = math.nan
        if fault.noticed is not None and wait_until(noticed, fault.held):
            notice = time.monotonic() - began
        wait_until(_never, began + fault.held - time.monotonic())
        over = time.monotonic()
    old = rig.pids.get(fault.restarts, 0)
    recovered = resume_until_moving(
        monitor, fault.recovery, lambda: not fault.restarts or rig.graph.pid(fault.restarts) not in (0, old)
    )
    recovery = time.monotonic() - began if recovered else math.nan
    found = record.findings(began, over, time.monotonic(), by_command=fault.cycles is not None)
    lost = _missing(rig)
    problems = _problems(fault, found, notice, timed=not delay)
    if not recovered:
        problems.append("did not come back to work")
    if lost:
        problems.append(f"{lost} episodes were announced and are not there")
    stands = fault.ending is Ending.RESTS
    return FaultRow(
        fault=fault.name,
        expected=fault.expected,
        seen=f"{'; '.join([_said(fault, found), *problems])}",
        detect_ms=1e3 * (found.detect if fault.ending is not Ending.GOES_ON else notice),
        rest_ms=1e3 * found.rest if stands else math.nan,
        braking_bound_ms=1e3 * found.bound if stands else math.nan,
        recovery_ms=1e3 * recovery,
        lost=lost,
        repeat=turn,
        speed_share=share,
        off_path_rad=found.off_path if stands else math.nan,
        start_rad=found.start,
        disturbed=0,
        late_ms=0.0,
        passed=not problems,
    )


def _not_brought_about(fault: Fault, turn: int, why: str) -> FaultRow:
    nan = math.nan
    return FaultRow(fault.name, fault.expected, why, nan, nan, nan, nan, 0, turn, nan, nan, nan, 0, 0.0, False)


def _never() -> bool:
    return False


def _gets_fast(rig: Rig, held: float) -> bool:
    """Whether the arm gets fast enough in a young episode; a stop that a late machine brought about is resumed."""
    deadline = time.monotonic() + _OPPORTUNITY
    while not (_young(rig, held) and rig.record.share >= _SPEED):
        if time.monotonic() > deadline:
            return False
        if rig.monitor.safety.state == SafetyStatus.STOPPED:
            resume_until_moving(rig.monitor, STARTED)
            rig.note_pids()
        time.sleep(0.001)
    return True


def _young(rig: Rig, held: float) -> bool:
    """Whether the episode that runs goes on for as long as a fault is to last."""
    return bool(rig.record.episodes) and time.monotonic() - max(rig.record.episodes.values()) < _EPISODE - held


def _problems(fault: Fault, found: Findings, notice: float, *, timed: bool) -> list[str]:
    """What is not as it must be; at a random moment (not `timed`) the arm may rest already, or its episode end."""
    wrong: list[str] = []

    def must(holds: bool, otherwise: str) -> None:
        if not holds:
            wrong.append(otherwise)

    must(found.leap <= _LEAP, f"the set-point leapt by {found.leap:.2f} of what the velocity limits allow")
    must(found.start <= _START, f"the set-point began to move with a jump of {found.start:.4f} rad")
    must(found.outside == 0, f"{found.outside} set-points outside the joints' range")
    if not timed:
        return wrong
    if fault.ending is Ending.GOES_ON:
        must(fault.may_stop or not found.stops, "the arm was stopped")
        must(fault.may_hold or not found.holds, "the arm was held")
        if fault.noticed is not None:
            must(not math.isnan(notice), "nobody noticed")
        return wrong
    late = not (found.detect <= fault.detection or math.isinf(fault.detection))
    must(not late, f"noticed after {1e3 * fault.detection:.0f} ms or not at all")
    if fault.reasons:
        must(bool(set(fault.reasons) & set(found.reasons)), f"none of {', '.join(fault.reasons)} was named")
    if fault.cycles is not None:
        must(0 <= found.cycles <= fault.cycles, f"deceleration began after {found.cycles} cycles")
    if fault.ending is Ending.RESTS:
        must(found.rest <= fault.detection + found.bound, "at rest too late or not at all")
        must(found.stays, "it did not stay at rest")
        must(found.off_path <= _OFF_PATH, f"{found.off_path:.4f} rad off the verified stop")
    return wrong


def _said(fault: Fault, found: Findings) -> str:

    if fault.ending is Ending.GOES_ON:
        what = "stopped" if found.stops else "short holds" if found.holds else "control went on"
        named = f" ({', '.join(found.reasons)})" if found.reasons else ""
        return f"{what}{named}, largest gap between commands {1e3 * found.gap:.0f} ms"
    cycles = f", after {found.cycles} cycles" if fault.cycles is not None else ""
    return (", ".join(found.reasons) or "no reaction") + cycles


def _missing(rig: Rig) -> int:
    """Episodes that were announced and are not there; whether they can be read is seen at the end."""
    store = EpisodeStore(rig.graph.run / "episodes", create=False)
    return sum(message.episode_id not in store for message in list(rig.monitor.feedback))
