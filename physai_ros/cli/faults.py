"""`physai faults`: the fault matrix against the live graph, with measured times to notice and to come to rest."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from physai_ros.cli.fault import Fault
    from physai_ros.cli.fault_pulse import Pulse
    from physai_ros.cli.fault_record import Findings
    from physai_ros.cli.fault_rig import Rig

_SPEED = 0.8  # share of its permitted speed at which the arm must move when a fault comes
_LEAP = 1.05  # share of what a late command may make good for that a step of the set-point may take
_START = 5e-3  # [rad] what acceleration allows in the first three cycles
_OFF_PATH = 5e-3  # [rad]
_ATTEMPTS = 4
_RECOVERY = 60.0  # [s]
_OPPORTUNITY = 150.0  # [s] in which a young episode with a fast arm comes: one may have just grown old, then the next
_RANDOM_MOMENT = 4.0  # [s]
SINKS = {"sink_with_timeout": 0.1, "sink_without_timeout": math.inf}
"""Controllers behind a driver that is killed, and their own time-outs [s]."""
_SINK_LATE = 0.02  # [s] of the two loops and the scheduler
_EPISODE = 45.0  # [s] that an episode of the rig lasts for sure: its end is no reaction to a fault


@dataclass
class _Row:
    fault: str
    expected: str
    seen: str
    detect_ms: float
    rest_ms: float
    braking_bound_ms: float
    recovery_ms: float
    lost: int
    repeat: int
    speed_share: float
    off_path_rad: float
    start_rad: float
    disturbed: int
    late_ms: float
    passed: bool


def faults(
    only: Annotated[
        str, typer.Option(help="Faults by name or by first word, separated by commas.", show_default="all")
    ] = "",
    repeat: Annotated[int, typer.Option(min=1, max=100, help="How often each fault is brought about.")] = 1,
    random: Annotated[
        int, typer.Option(min=0, help="Instead of the matrix: so many kills of any node at random moments.")
    ] = 0,
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph that is started.")] = "faults",
    seed: Annotated[int, typer.Option(min=0, help="Of policy, episodes and random faults.")] = 0,
    run: Annotated[Path | None, typer.Option(help="Folder of the run, kept.", show_default="one that is not")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file.")] = None,
) -> None:
    """Run the fault matrix against a live graph whose arm moves at 80 % or more of its permitted speed.

    Every episode that was begun must be readable afterwards, and the safety log whole.
    """
    import numpy as np
    from rich.console import Console

    from physai_ros.cli.fault_pulse import Pulse
    from physai_ros.cli.fault_rig import fault_rig
    from physai_ros.cli.results import write_json

    chosen, sinks = _chosen(only)
    generator = np.random.default_rng(seed)
    plan: list[tuple[Fault, int, float]] = [(fault, turn, 0.0) for turn in range(repeat) for fault in chosen]
    if random:
        kills = [fault for fault in _all() if fault.restarts and fault.name.endswith("_killed")]
        picks = generator.integers(len(kills), size=random)
        delays = generator.uniform(0.0, _RANDOM_MOMENT, size=random)
        plan = [(kills[pick], turn, float(delay)) for turn, (pick, delay) in enumerate(zip(picks, delays, strict=True))]
        sinks = []
    console, rows = Console(), []

    def add(row: _Row) -> None:
        rows.append(row)
        console.print(f"{'passed' if row.passed else 'FAILED'}  {row.fault}: {row.seen}", highlight=False)

    for turn in range(repeat):
        for name in sinks:
            add(_sink(name, turn, seed))
    if plan:
        with fault_rig(seed, namespace, run) as rig, Pulse() as pulse:
            try:
                for fault, turn, delay in plan:
                    with console.status(f"{fault.name}, {turn + 1}: {fault.expected}"):
                        row = _undisturbed(fault, turn, rig, pulse, delay)
                    add(row)
            except KeyboardInterrupt:
                console.print(f"interrupted: {len(rows)} of {len(plan)} faults were brought about")
            add(_recordings(rig, rows))
            add(_safety_log(rig))
    _show(rows, console)
    passed = sum(row.passed for row in rows)
    if json_file is not None:
        figures = {"passed": passed, "failed": len(rows) - passed, "disturbed": sum(row.disturbed for row in rows)}
        write_json(json_file, "faults", seed, figures, rows=[asdict(row) for row in rows])
    if passed < len(rows):
        raise typer.Exit(1)


def _all() -> list[Fault]:
    from physai_ros.cli import fault_messages, fault_processes, fault_resources

    return [*fault_processes.FAULTS, *fault_messages.FAULTS, *fault_resources.FAULTS]


def _chosen(only: str) -> tuple[list[Fault], list[str]]:
    """Faults of these names or first words, in the matrix's order, and sinks likewise.

    Raises:
        ValueError: a name is none.
    """
    faults = {fault.name: fault for fault in _all()}
    wanted = {name.strip() for name in only.split(",") if name.strip()}
    known = [*faults, *SINKS]
    for name in wanted:
        if not any(name in (each, each.partition("_")[0]) for each in known):
            raise ValueError(f"there is no fault '{name}'; there are {', '.join(known)}")
    picked = [name for name in known if not wanted or wanted & {name, name.partition("_")[0]}]
    return [faults[name] for name in picked if name in faults], [name for name in picked if name in SINKS]


def _sink(name: str, turn: int, seed: int) -> _Row:
    """A driver killed in front of a controller with, and without, a time-out of its own."""
    from physai_ros.cli.fault_sink import kill_driver

    timeout = SINKS[name]
    found = kill_driver(timeout, seed + turn)
    problems = [] if found.accepted_in_writing else ["not even accepted in writing"]
    if math.isinf(timeout):
        expected = "refused at activation unless accepted in writing: nothing stops the arm"
        seen = f"refused: {found.refusal}; in writing: {'goes on' if math.isnan(found.rest) else 'stops'} when killed"
        if not found.refusal:
            problems.append("it must be refused")
    else:
        expected = "the controller stops by itself"
        seen = f"stopped by its own time-out of {1e3 * timeout:.0f} ms"
        if found.refusal:
            problems.append(f"refused: {found.refusal}")
        if not found.detect <= timeout + _SINK_LATE:
            problems.append("it began to brake too late or not at all")
        if not found.rest <= timeout + _SINK_LATE + found.bound:
            problems.append("at rest too late or not at all")
    milliseconds = (1e3 * found.detect, 1e3 * found.rest, 1e3 * found.bound, math.nan)
    seen = "; ".join([seen, *problems])
    return _Row(name, expected, seen, *milliseconds, 0, turn, 0.85, math.nan, math.nan, 0, 0.0, not problems)


def _undisturbed(fault: Fault, turn: int, rig: Rig, pulse: Pulse, delay: float) -> _Row:
    """What became of a fault; one that failed while the machine was late, or did not come about, is tried again."""
    from physai_ros.cli.fault_pulse import DISTURBED

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


def _inject(fault: Fault, turn: int, rig: Rig, delay: float) -> _Row:
    """Bring a fault about at full speed, or `delay` [s] later whatever the arm does, and see what becomes of it."""
    from physai_ros.cli.fault_rig import wait_until
    from physai_ros.cli.live_graph import STARTED, resume_until_moving

    monitor, record = rig.monitor, rig.record
    if not resume_until_moving(monitor, STARTED):
        raise TimeoutError(f"the policy did not move the arm within {STARTED:g} s; see {rig.graph.run / 'logs'}")
    rig.note_pids()
    if not wait_until(lambda: _young(rig, fault.held) and record.share >= _SPEED, _OPPORTUNITY):
        reasons = ", ".join(monitor.safety.reasons) or "nothing"
        raise TimeoutError(
            f"the arm did not reach {_SPEED:.0%} of its permitted speed within {_OPPORTUNITY:g} s; "
            f"now at {record.share:.0%}, safety says {reasons}, episode {monitor.episode.episode_id}"
        )
    if delay:
        wait_until(lambda: False, delay)
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
        monitor, _RECOVERY, lambda: not fault.restarts or rig.graph.pid(fault.restarts) not in (0, old)
    )
    recovery = time.monotonic() - began if recovered else math.nan
    found = record.findings(began, over, time.monotonic(), by_command=fault.cycles is not None)
    lost = _missing(rig)
    problems = _problems(fault, found, notice, timed=not delay)
    if not recovered:
        problems.append("did not come back to work")
    if lost:
        problems.append(f"{lost} episodes were announced and are not there")
    stands = fault.ending.name == "RESTS"
    return _Row(
        fault=fault.name,
        expected=fault.expected,
        seen=f"{'; '.join([_said(fault, found), *problems])}",
        detect_ms=1e3 * (found.detect if fault.ending.name != "GOES_ON" else notice),
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


def _not_brought_about(fault: Fault, turn: int, why: str) -> _Row:
    nan = math.nan
    return _Row(fault.name, fault.expected, why, nan, nan, nan, nan, 0, turn, nan, nan, nan, 0, 0.0, False)


def _never() -> bool:
    return False


def _young(rig: Rig, held: float) -> bool:
    """Whether the episode that runs goes on for as long as a fault is to last."""
    return bool(rig.record.episodes) and time.monotonic() - max(rig.record.episodes.values()) < _EPISODE - held


def _problems(fault: Fault, found: Findings, notice: float, *, timed: bool) -> list[str]:
    """What is not as it must be; at a random moment (not `timed`) the arm may rest already."""
    from physai_ros.cli.fault import Ending

    wrong: list[str] = []

    def must(holds: bool, otherwise: str) -> None:
        if not holds:
            wrong.append(otherwise)

    must(found.leap <= _LEAP, f"the set-point leapt by {found.leap:.2f} of what the velocity limits allow")
    must(found.start <= _START, f"the set-point began to move with a jump of {found.start:.4f} rad")
    must(found.outside == 0, f"{found.outside} set-points outside the joints' range")
    if fault.ending is Ending.GOES_ON:
        must(fault.may_stop or not found.stops, "the arm was stopped")
        must(fault.may_hold or not found.holds, "the arm was held")
        if fault.noticed is not None:
            must(not math.isnan(notice), "nobody noticed")
        return wrong
    if not timed:
        return wrong
    must(found.detect <= fault.detection, f"noticed after {1e3 * fault.detection:.0f} ms or not at all")
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
    from physai_ros.cli.fault import Ending

    if fault.ending is Ending.GOES_ON:
        what = "stopped" if found.stops else "short holds" if found.holds else "control went on"
        named = f" ({', '.join(found.reasons)})" if found.reasons else ""
        return f"{what}{named}, largest gap between commands {1e3 * found.gap:.0f} ms"
    cycles = f", after {found.cycles} cycles" if fault.cycles is not None else ""
    return (", ".join(found.reasons) or "no reaction") + cycles


def _missing(rig: Rig) -> int:
    """Episodes that were announced and are not there; whether they can be read is seen at the end."""
    from physai_ros.experience.store import EpisodeStore

    store = EpisodeStore(rig.graph.run / "episodes", create=False)
    return sum(message.episode_id not in store for message in list(rig.monitor.feedback))


def _recordings(rig: Rig, rows: list[_Row]) -> _Row:
    """Whether every episode that was begun can be read, but for those that the disk had no room for."""
    from physai_ros.cli.fault_rig import wait_until
    from physai_ros.experience.store import EpisodeStore, StoreError

    expected = "every episode that was begun is in the store, announced or recovered, and can be read"
    begun = dict(rig.record.episodes)
    running = max(begun, key=begun.__getitem__, default="")
    store = EpisodeStore(rig.graph.run / "episodes", create=False)

    def missing() -> list[str]:
        there = set(store.ids())
        return [episode for episode in begun if episode not in there and episode != running]

    wait_until(lambda: not missing(), 10.0)
    gone, damaged = len(missing()), 0
    for episode in store.ids():
        try:
            store.read(episode)
        except StoreError:
            damaged += 1
    full = 2 * sum(row.fault == "disk_full" for row in rows)
    seen = f"{len(begun)} begun, {gone} missing, {damaged} damaged"
    if gone and full:
        seen += f"; up to {full} on a full disk"
    return _whole("recordings", expected, seen, max(0, gone - full) + damaged)


def _safety_log(rig: Rig) -> _Row:
    """Whether the chain of the safety log is whole after all that."""
    from physai_ros.safety.audit import AuditError, verify_audit

    path = rig.graph.run / "safety_audit.jsonl"
    try:
        verdict = verify_audit(path)
        return _whole("safety_log", "the chain is whole", f"whole: {verdict.records} records", verdict.dropped)
    except (AuditError, OSError) as error:
        return _whole("safety_log", "the chain is whole", str(error), 1)


def _whole(name: str, expected: str, seen: str, lost: int) -> _Row:
    nan = math.nan
    return _Row(name, expected, seen, nan, nan, nan, nan, lost, 0, nan, nan, nan, 0, 0.0, lost == 0)


def _show(rows: list[_Row], console: Console) -> None:
    """One line a fault: median and worst of its repeats."""
    from rich.table import Table

    table = Table(title="fault matrix: median (worst) of the repeats", title_justify="left")
    for name in ("fault", "detect [ms]", "rest [ms]", "bound [ms]", "back [ms]", "lost", "passed"):
        table.add_column(name, justify="left" if name == "fault" else "right", no_wrap=True)
    for name in dict.fromkeys(row.fault for row in rows):
        same = [row for row in rows if row.fault == name]
        figures = [
            _median_and_worst([row.detect_ms for row in same]),
            _median_and_worst([row.rest_ms for row in same]),
            _median_and_worst([row.braking_bound_ms for row in same], worst=False),
            _median_and_worst([row.recovery_ms for row in same], worst=False),
        ]
        passed = f"{sum(row.passed for row in same)}/{len(same)}"
        table.add_row(name, *figures, str(sum(row.lost for row in same)), passed)
    console.print(table)


def _median_and_worst(values: list[float], *, worst: bool = True) -> str:
    from statistics import median

    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "—"
    return f"{median(known):.0f} ({max(known):.0f})" if worst else f"{median(known):.0f}"
