"""`physai faults`: the fault matrix against the live graph, with measured times to notice and to come to rest."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.cli.fault import Fault
    from physai_ros.cli.fault_row import FaultRow

_RANDOM_MOMENT = 4.0  # [s]
SINKS = {"sink_with_timeout": 0.1, "sink_without_timeout": math.inf}
"""Controllers behind a driver that is killed, and their own time-outs [s]."""
_SINK_LATE = 0.02  # [s] of the two loops and the scheduler


def faults(
    only: Annotated[
        str, typer.Option(help="Faults by name or by first word, separated by commas.", show_default="all")
    ] = "",
    repeat: Annotated[int, typer.Option(min=1, max=100, help="How often each fault is brought about.")] = 1,
    minutes: Annotated[
        float,
        typer.Option(min=0.0, help="Begin no further round that would end after this.", show_default="none"),
    ] = math.inf,
    random: Annotated[
        int, typer.Option(min=0, help="Instead of each fault: so many of the kills among them, at random moments.")
    ] = 0,
    tolerate: Annotated[
        int, typer.Option(min=0, help="Failures of one fault that are put down to a machine that others use as well.")
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

    from physai_ros.cli.fault_injection import bring_about
    from physai_ros.cli.fault_kept import NEVER_TOLERATED, recordings_row, safety_log_row
    from physai_ros.cli.fault_pulse import Pulse
    from physai_ros.cli.fault_rig import fault_rig
    from physai_ros.cli.fault_row import show_rows
    from physai_ros.cli.results import write_json

    chosen, sinks = _chosen(only)
    generator = np.random.default_rng(seed)
    rounds: list[list[tuple[Fault, int, float]]] = [[(fault, turn, 0.0) for fault in chosen] for turn in range(repeat)]
    if random:
        kills = [fault for fault in chosen if fault.restarts and fault.name.endswith("_killed")]
        if not kills:
            raise ValueError(f"none of the faults '{only}' is a kill; kills are named <part>_killed")
        picks = generator.integers(len(kills), size=random)
        delays = generator.uniform(0.0, _RANDOM_MOMENT, size=random)
        drawn = enumerate(zip(picks, delays, strict=True))
        rounds = [[(kills[pick], turn, float(delay)) for turn, (pick, delay) in drawn]]
        sinks = []
    console, rows, began = Console(), [], time.monotonic()

    def add(row: FaultRow) -> None:
        rows.append(row)
        console.print(f"{'passed' if row.passed else 'FAILED'}  {row.fault}: {row.seen}", highlight=False)

    for turn in range(repeat):
        for name in sinks:
            add(_sink(name, turn, seed))
    if chosen:
        with fault_rig(seed, namespace, run) as rig, Pulse() as pulse:
            try:
                for done, faults_of_round in enumerate(rounds):
                    if not _another_ends_in_time(done, time.monotonic() - began, minutes):
                        console.print(f"{done} of {repeat} rounds: another would not end within {minutes:g} minutes")
                        break
                    for fault, turn, delay in faults_of_round:
                        with console.status(f"{fault.name}, {turn + 1}: {fault.expected}"):
                            row = bring_about(fault, turn, rig, pulse, delay)
                        add(row)
            except KeyboardInterrupt:
                console.print(f"interrupted: {len(rows)} faults were brought about")
            add(recordings_row(rig, rows))
            add(safety_log_row(rig))
    show_rows(rows, console)
    passed = sum(row.passed for row in rows)
    if json_file is not None:
        figures = {"passed": passed, "failed": len(rows) - passed, "disturbed": sum(row.disturbed for row in rows)}
        write_json(json_file, "faults", seed, figures, rows=[asdict(row) for row in rows])
    failures = Counter(row.fault for row in rows if not row.passed)
    if any(count > (0 if fault in NEVER_TOLERATED else tolerate) for fault, count in failures.items()):
        raise typer.Exit(1)


def _another_ends_in_time(done: int, seconds: float, minutes: float) -> bool:
    """Whether one more round is over within `minutes` if it takes as long as the `done` ones did; the first must be."""
    return not done or seconds * (done + 1) / done <= 60.0 * minutes


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


def _sink(name: str, turn: int, seed: int) -> FaultRow:
    """A driver killed in front of a controller with, and without, a time-out of its own."""
    from physai_ros.cli.fault_row import FaultRow
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
    return FaultRow(name, expected, seen, *milliseconds, 0, turn, 0.85, math.nan, math.nan, 0, 0.0, not problems)
