"""`physai policies calibrate`: an alarm for a version, from episodes that it solved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from physai_ros.experience.episode import Episode
    from physai_ros.policy.registry import Policy
    from physai_ros.tasks.task import Task


def calibrate_version(
    version: Annotated[str, typer.Argument(help="Version, or 'current'.")] = "current",
    store: Annotated[
        list[Path] | None, typer.Option(help="Episode store of runs by this version; may be repeated.")
    ] = None,
    simulate: Annotated[int, typer.Option(min=0, help="Run so many episodes on the nominal simulated arm.")] = 0,
    rate: Annotated[
        float, typer.Option("--false-alarm-rate", min=0.001, max=0.9, help="Share of successes that may alarm.")
    ] = 0.05,
    registry: Annotated[Path, typer.Option("--registry", help="Folder of the policy versions.")] = Path("registry"),
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    seed: Annotated[int, typer.Option(min=0, help="Of scenarios, and of which episodes are the reference.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Calibrate the out-of-distribution alarm of a version on episodes that it solved without help.

    Successes in the stores count, whatever their purpose, as long as this version drove and nobody stepped in: the
    alarm knows what these episodes saw, on the arm that they ran on. Who loads the version from then on has the alarm.
    """
    from collections import Counter

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.alarm_calibration import DecisionReader, calibrate, rate_interval
    from physai_ros.evaluation.protocol import resolve_version
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.robot.kinematics import Kinematics
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task

    if not store and not simulate:
        raise ValueError(
            "there is nothing to calibrate on: name the episodes of your runs with --store DIR, or run some in "
            "simulation with --simulate N"
        )
    versions = PolicyRegistry(registry)
    manifest = versions.manifest(resolve_version(versions, version))
    # Without the alarm that it may have: what is measured is the policy, not the response to an alarm.
    policy = versions.load(manifest.version, with_alarm=False)
    task = load_task(manifest.task)
    reader = DecisionReader(policy, task, Kinematics(RobotSpec.load(robot)))
    left_out: Counter[str] = Counter()
    solved = []
    for episode in _episodes(store or [], simulate, policy, task, robot, seed):
        reason = reader.why_not(episode)
        left_out[reason] += bool(reason)
        if not reason:
            solved.append(reader.decisions(episode))
    for reason, count in sorted(left_out.items()):
        if count:
            typer.echo(f"left out: {count} episodes {reason}", err=True)
    alarm = calibrate(policy, solved, rate, seed)
    versions.set_alarm(manifest.version, alarm)
    lower, upper = rate_interval(alarm.calibration_episodes, rate)
    typer.echo(
        f"version {manifest.version} has an alarm: {alarm.reference_episodes} successes are its reference, "
        f"{alarm.calibration_episodes} set the threshold. At most {rate:.1%} of successful episodes alarm, on average "
        f"over calibrations; this one ends up between {lower:.1%} and {upper:.1%} (95 %). It is advisory. A graph that "
        "has the version loaded takes it with its next start."
    )
    if json_file is not None:
        figures = {
            "false_alarm_rate_set": rate,
            "expected_rate_lower": lower,
            "expected_rate_upper": upper,
            "threshold": alarm.threshold,
            "reference_episodes": alarm.reference_episodes,
            "calibration_episodes": alarm.calibration_episodes,
            "left_out": sum(left_out.values()),
        }
        write_json(json_file, "policies calibrate", seed, figures, rows=[{"version": manifest.version}])


def _episodes(
    stores: list[Path], simulate: int, policy: Policy, task: Task, robot: str, seed: int
) -> Iterator[Episode]:
    """Episodes of the stores that this version drove, then fresh ones in simulation."""
    import torch
    from rich.progress import track

    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.robot.spec import RobotSpec

    for folder in stores:
        episodes = EpisodeStore(folder, create=False)
        # Only those are read in full that this version drove; the rest cannot be used.
        own = [k for k, s in episodes.summaries().items() if s.context.policy_version == policy.version]
        if not own:
            typer.echo(f"left out: {folder} holds no episode by version {policy.version}", err=True)
        for episode_id in track(own, "Reading episodes", transient=True):
            yield episodes.read(episode_id)
    if simulate:
        torch.set_num_threads(1)
        rollout = Rollout(RobotSpec.load(robot), task, policy=policy)
        # A stream of its own: what `physai evaluate` reports must not be what the alarm was fitted to.
        for scenario_seed in track(scenario_seeds("calibration", seed, simulate), "Running episodes", transient=True):
            yield rollout.run(scenario_of(task, scenario_seed), scenario_seed)
        rollout.close()
