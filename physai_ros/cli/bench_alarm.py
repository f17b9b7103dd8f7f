"""`physai bench alarm`: false alarms against the rate that was set, and how much of what goes wrong is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.policy.registry import Policy


def alarm(
    registry: Annotated[
        Path | None, typer.Option(help="Folder of the policy versions.", show_default="a policy from 40 demonstrations")
    ] = None,
    policy: Annotated[str, typer.Option(help="Version in the registry, or 'current'.")] = "current",
    task: Annotated[str, typer.Option(help="Task of the policy that is made, where no registry is given.")] = (
        "pick_place"
    ),
    rate: Annotated[
        float, typer.Option("--false-alarm-rate", min=0.001, max=0.9, help="Share of successes that may alarm.")
    ] = 0.1,
    calibration: Annotated[int, typer.Option(min=4, help="Episodes to calibrate on.")] = 100,
    fresh: Annotated[int, typer.Option(min=1, help="Fresh episodes on the same arm.")] = 100,
    shifted: Annotated[int, typer.Option(min=1, help="Episodes on each of the arms that it never saw.")] = 25,
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    seed: Annotated[int, typer.Option(min=0, help="Of policy and scenarios.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Calibrate an alarm, then count false alarms on fresh episodes and alarms on arms that it never saw.

    What the graded response costs is measured by running the fresh episodes again with the alarm in force.
    """
    import tempfile

    import torch
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.alarm_calibration import calibrate, rate_interval
    from physai_ros.evaluation.alarm_study import CASES, NOMINAL, Share, judge_case, policy_step, run_case
    from physai_ros.evaluation.protocol import resolve_version
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.evaluation.scenario_sets import scenario_seeds
    from physai_ros.policy.registry import Policy, PolicyRegistry
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task

    torch.set_num_threads(1)
    if registry is not None:
        versions = PolicyRegistry(registry)
        loaded = versions.load(resolve_version(versions, policy))
        rollout = Rollout(RobotSpec.load(robot), load_task(loaded.manifest.task))
    else:
        rollout = Rollout(RobotSpec.load(robot), load_task(task))
        with tempfile.TemporaryDirectory() as folder:
            loaded = _imitator(rollout, Path(folder), seed)
    deaf = Policy(loaded.manifest, loaded.network)
    seeds = scenario_seeds("held_out", seed, calibration + fresh + shifted)
    tested, foreign = seeds[calibration : calibration + fresh], seeds[calibration + fresh :]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        total = calibration + 2 * fresh + (len(CASES) - 1) * shifted
        bar = progress.add_task("episodes", total=total)

        def run(driver: Policy, case: str, scenarios: tuple[int, ...]) -> list:
            return run_case(rollout, driver, case, scenarios, lambda: progress.advance(bar))

        solved = [one.decisions for one in run(deaf, NOMINAL, seeds[:calibration]) if one.success]
        made = calibrate(deaf, solved, rate, seed)
        episodes = {case: run(deaf, case, tested if case == NOMINAL else foreign) for case in CASES}
        heeding = run(Policy(loaded.manifest, loaded.network, made), NOMINAL, tested)
    results = [judge_case(made, found, policy_step(rollout)) for found in episodes.values()]
    rollout.close()
    own, foreign_results = results[0], results[1:]
    lower, upper = rate_interval(made.calibration_episodes, rate)
    failed = [result.alarms_on_failure for result in foreign_results]
    noticed = Share(sum(share.count for share in failed), sum(share.total for share in failed))
    false_lower, false_upper = own.alarms_on_success.interval
    figures = {
        "false_alarm_rate_set": rate,
        "false_alarm_rate": own.alarms_on_success.rate,
        "false_alarm_rate_lower": false_lower,
        "false_alarm_rate_upper": false_upper,
        "fresh_successes": own.alarms_on_success.total,
        "expected_rate_lower": lower,
        "expected_rate_upper": upper,
        "failures_noticed": noticed.rate,
        "failures_noticed_lower": noticed.interval.lower,
        "failures_noticed_upper": noticed.interval.upper,
        "failures": noticed.total,
        "success": own.success.rate,
        "success_with_response": sum(one.success for one in heeding) / len(heeding),
        "calibration_episodes": made.calibration_episodes,
        "reference_episodes": made.reference_episodes,
        "level_ms": _level_ms(made, deaf),
    }
    _show(results, figures)
    if json_file is not None:
        write_json(json_file, "bench alarm", seed, figures, rows=[result.row() for result in results])


def _imitator(rollout: Rollout, folder: Path, seed: int) -> Policy:
    """A policy that imitates 40 noisy demonstrations, the demonstration's own."""
    from physai_ros.evaluation.driving import DemonstrationNoise
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.training.config import TrainerConfig
    from physai_ros.transfer.first_policy import first_policy

    version = first_policy(
        rollout,
        folder,
        TrainerConfig(seed=seed),
        demonstrations=40,
        seed=seed,
        noise=DemonstrationNoise(),
        on_demonstration=lambda _done, _total: None,
        on_update=lambda _done, _total: None,
    )
    return PolicyRegistry(folder / "registry").load(version)


def _level_ms(alarm: object, policy: Policy) -> float:
    """Median time of one level, beside the forward pass [ms]."""
    import time

    import numpy as np

    from physai_ros.policy.alarm import AlarmWatch

    watch = AlarmWatch(alarm)
    decision = policy.predict(np.zeros(policy.manifest.architecture.observation_size, dtype=np.float32))
    times = []
    for _ in range(300):
        began = time.perf_counter()
        watch.update(decision)
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times))


def _show(results: list, figures: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("arm", "success", "alarms on successes", "alarms on failures", "lead [s]", "by", box=None)
    for result in results:
        table.add_row(
            result.case,
            f"{result.success.count} of {result.success.total}",
            _share(result.alarms_on_success),
            _share(result.alarms_on_failure),
            "-" if result.lead_time != result.lead_time else f"{result.lead_time:.1f}",
            ", ".join(f"{cause} {count}" for cause, count in result.causes.items()) or "-",
        )
    console = Console()
    console.print(table)
    console.print(
        f"false alarms: set {figures['false_alarm_rate_set']:.1%}, measured {figures['false_alarm_rate']:.1%} (95 % "
        f"{figures['false_alarm_rate_lower']:.1%} to {figures['false_alarm_rate_upper']:.1%}) on "
        f"{figures['fresh_successes']} fresh successes; one calibration on {figures['calibration_episodes']} episodes "
        f"ends up between {figures['expected_rate_lower']:.1%} and {figures['expected_rate_upper']:.1%}"
    )
    console.print(
        f"success {figures['success']:.0%}, with the graded response {figures['success_with_response']:.0%}; "
        f"a level takes {figures['level_ms']:.3f} ms"
    )


def _share(share: object) -> str:
    if not share.total:
        return "-"
    lower, upper = share.interval
    return f"{share.count} of {share.total} ({lower:.0%} to {upper:.0%})"
