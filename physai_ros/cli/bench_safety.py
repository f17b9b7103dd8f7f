"""`physai bench safety`: what the safety monitor costs, and what gets past it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from physai_ros.evaluation.safety_hours import SafetyHours


_UPDATES, _BUSY = 100_000, 180.0  # of the trainer an episode: it never rests; patience until it begins [s]

_PASSES = 5  # over the same decisions


def safety(
    decisions: Annotated[int, typer.Option(min=100, help="Decisions to time in each case.")] = 20_000,
    fuzz: Annotated[int, typer.Option(min=0, help="Random and hostile proposals and states.")] = 20_000,
    hours: Annotated[float, typer.Option(min=0.0, help="Simulated time of each bad policy [h].")] = 0.05,
    policy: Annotated[str, typer.Option(help="Bad policy of the hours: random, adversarial, or both.")] = "both",
    episodes: Annotated[int, typer.Option(min=0, help="Demonstrations with the filter, and as many without.")] = 20,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time to watch the live graph [s]; 0: do not start it.")] = 20,
    namespace: Annotated[str, typer.Option(help="ROS namespace of that graph.")] = "bench",
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time of one decision, limits kept under fuzz and under bad policies, demonstrations altered, jitter of the loop.

    A decision is the whole answer to a driver state; its figures are those of a policy's steps and of an adversary's,
    at a real-time priority where that is permitted, as the monitor's own process has it in the graph.
    Decisions stand beside clipping alone and a bare solve; bad policies and demonstrations beside the filter off. The
    least of five passes over the same decisions is what they take themselves, without what else the machine does; what
    that is, arithmetic of the same length shows, which is always the same.
    """
    from rich.console import Console

    from physai_ros.cli.live_graph import real_time_threads
    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.safety_hours import POLICIES

    if policy not in (*POLICIES, "both"):
        raise ValueError(f"--policy {policy}: expected one of {', '.join((*POLICIES, 'both'))}")
    console = Console()
    figures: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    violations = 0
    with console.status("timing decisions"), real_time_threads():
        rows += _timed(decisions, seed)
    figures["decision_p50_ms"], figures["decision_p99_ms"] = rows[0]["p50_ms"], rows[0]["p99_ms"]
    figures["decision_least_p99_ms"] = rows[1]["p99_ms"]
    figures["plain_p50_ms"], figures["plain_p99_ms"] = rows[5]["p50_ms"], rows[5]["p99_ms"]
    figures["decision_adversary_p50_ms"], figures["decision_adversary_p99_ms"] = rows[2]["p50_ms"], rows[2]["p99_ms"]
    if fuzz:
        with console.status(f"{fuzz} proposals"):
            row = _fuzzed(fuzz, seed)
        violations += row["violations"]
        rows.append(row)
    chosen = POLICIES if policy == "both" else (policy,)
    for name in chosen if hours else ():
        for filtered in (True, False):
            with console.status(f"{name} policy, filter {'on' if filtered else 'off'}"):
                row = _hours(name, filtered, hours if filtered else min(hours, 0.1), seed)
            violations += row["violations"] if filtered else 0
            rows.append(row)
    if episodes:
        with console.status("demonstrations"):
            on, off = (_demonstrated(episodes, seed, filtered=filtered) for filtered in (True, False))
        rows += [on, off]
        figures["altered_share"] = on["altered_share"]
        figures["success_filtered"], figures["success_unfiltered"] = on["success"], off["success"]
    figures["violations"] = float(violations)
    if seconds:
        with console.status("the live graph"):
            row = _live(seconds, seed, namespace)
        rows.append(row)
        figures["loop_jitter_p99_ms"] = row["jitter_p99_ms"]
    for row in rows:
        console.print("  ".join(f"{key} {_short(value)}" for key, value in row.items()), soft_wrap=True)
    for name, value in figures.items():
        console.print(f"{name}: {_short(value)}")
    if json_file is not None:
        write_json(json_file, "bench safety", seed, figures, rows=rows)


def _timed(decisions: int, seed: int) -> list[dict[str, Any]]:
    import numpy as np

    from physai_ros.evaluation.decision_times import clip_times, decision_times, plain_times, solve_times

    passes = np.array([decision_times("policy", decisions // _PASSES, seed) for _ in range(_PASSES)])
    return [
        _quantiles("decision, policy steps", passes.ravel()),
        _quantiles(f"the same, least of {_PASSES} passes", passes.min(axis=0)),
        _quantiles("decision, adversary", decision_times("adversary", decisions, seed)),
        _quantiles("clip only", clip_times(decisions, seed)),
        _quantiles("bare solve (daqp, 7 joints, 16 rows)", solve_times(decisions, seed)),
        _quantiles("plain arithmetic, as long as a decision", plain_times(float(np.median(passes)), decisions)),
    ]


def _quantiles(case: str, times: np.ndarray) -> dict[str, Any]:
    import numpy as np

    median, tail = np.percentile(1e3 * times, [50, 99])
    return {"case": case, "p50_ms": float(median), "p99_ms": float(tail), "max_ms": float(1e3 * times.max())}


def _fuzzed(count: int, seed: int) -> dict[str, Any]:
    from physai_ros.evaluation.safety_fuzz import SafetyFuzz

    result = SafetyFuzz(seed=seed).run(count)
    return {
        "case": "fuzz",
        "proposals": result.proposals,
        "permitted": result.permitted,
        "altered": result.altered,
        "violations": sum(result.violations.values()),
        "violated": dict(result.violations),
        "reasons": dict(result.reasons),
    }


def _hours(policy: str, filtered: bool, hours: float, seed: int) -> dict[str, Any]:
    from physai_ros.evaluation.safety_hours import SafetyTrial

    trial = SafetyTrial(policy, filtered=filtered, seed=seed)
    try:
        result: SafetyHours = trial.run(3600.0 * hours)
    finally:
        trial.close()
    return {
        "case": f"{policy} policy, filter {'on' if filtered else 'off'}",
        "hours": hours,
        "violations": result.violations,
        "commanded": dict(result.commanded),
        "arm": dict(result.arm),
        "stops": dict(result.stops),
        "peak_force": result.peak_force,
        "impact": result.impact,
        "longest_press": result.longest_press,
        "nearest_links": result.nearest_links,
        "lowest_tool": result.lowest_tool,
    }


def _demonstrated(episodes: int, seed: int, *, filtered: bool) -> dict[str, Any]:
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
    from physai_ros.experience.episode import Purpose
    from physai_ros.robot.command import CommandSource
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task

    task = load_task("pick_place")
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, filtered=filtered)
    commands = altered = stopped = successes = 0

    def count(_state: object, command: Any) -> None:  # noqa: ANN401 a SafeCommand, imported where it is used
        nonlocal commands, altered, stopped
        commands += 1
        altered += command.altered
        stopped += command.source not in (CommandSource.OPERATOR, CommandSource.POLICY)

    try:
        for scenario_seed in scenario_seeds("held_out", seed, episodes):
            scenario = scenario_of(task, scenario_seed)
            episode = rollout.run(scenario, scenario_seed, Purpose.DEMONSTRATE, on_cycle=count)
            successes += episode.outcome.success
    finally:
        rollout.close()
    return {
        "case": f"demonstrations, filter {'on' if filtered else 'off'}",
        "episodes": episodes,
        "success": successes / episodes,
        "altered_share": altered / commands,
        "stopped": stopped,
    }


def _live(seconds: float, seed: int, namespace: str) -> dict[str, Any]:
    """Jitter of the safety loop in the running, learning graph: of the time between its answers to driver states.

    Within episodes, whatever it answered there: between them the world is put back, out of step with the clock.
    """
    import numpy as np
    import psutil

    from physai_ros.cli.bench_latency import moving_graph, record_of, watch
    from physai_ros.msg import SafeCommand

    rate = 100.0
    answers: dict[int, float] = {}

    def hear(message: object, instant: float) -> None:
        if isinstance(message, SafeCommand):
            answers.setdefault(message.state_sequence, instant)

    busy = {"sparse_trainer": {"updates_per_episode": _UPDATES}}
    with moving_graph("state", rate, task="pick_place", namespace=namespace, seed=seed, more=busy) as parts:
        graph, monitor, tap = parts
        monitor.wait(lambda: monitor.training is not None and monitor.training.updates > 0, _BUSY, "training")
        watch(monitor, tap, 0.5)  # what has waited until now
        record = record_of(tap)
        tap.hooks.append(hear)
        process = psutil.Process(_pid(graph.statuses(), "safety_monitor"))
        spent, updates = process.cpu_times(), monitor.training.updates
        begin, end = watch(monitor, tap, seconds, settle=0.0)
        now, updates = process.cpu_times(), monitor.training.updates - updates
    sequences = np.array(sorted(set(record.counted()) & answers.keys()))
    follow = np.diff(sequences) == 1  # where a message was lost there is no interval
    intervals = np.diff([answers[sequence] for sequence in sequences])[follow]
    jitter = 1e3 * np.abs(intervals - 1.0 / rate)
    return {
        "case": "live graph, training",
        "answers": len(sequences),
        "share_in_episodes": len(sequences) / len(answers),
        "jitter_p50_ms": float(np.percentile(jitter, 50)),
        "jitter_p99_ms": float(np.percentile(jitter, 99)),
        "interval_p99_ms": float(1e3 * np.percentile(intervals, 99)),
        "cpu_share": (now.user + now.system - spent.user - spent.system) / (end - begin),
        "training_updates": int(updates),
    }


def _pid(statuses: list[Any], name: str) -> int:
    return next(status.pid for status in statuses if status.name == name)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
