"""`physai bench detector`: how often a success detector is wrong, by how many labelled episodes it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

_UPDATES = 800  # of the policy that is watched
_VERSION = "000001"


def detector(
    data: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is run, and is gone on from.", show_default="none")
    ] = None,
    labelled: Annotated[str, typer.Option(help="How many labelled episodes to train on, with commas.")] = "20,50,100",
    held_out: Annotated[int, typer.Option(min=1, help="Fresh episodes to judge.")] = 200,
    demonstrations: Annotated[int, typer.Option(min=1, help="That the watched policy imitates; few: it fails.")] = 9,
    rates: Annotated[
        str, typer.Option("--false-success-rates", help="Set, with commas; left out where labels are too few.")
    ] = "0.05,0.1,0.15",
    cameras: Annotated[str, typer.Option(help="What it looks through.")] = "scene,wrist",
    image_size: Annotated[int, typer.Option(min=8, max=84, help="Height and width of what it sees [pixel].")] = 42,
    seed: Annotated[int, typer.Option(min=0, help="Of policy, scenarios and detectors.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Watch a young policy at `pick_place`, and count what detectors say of episodes that they never saw.

    The task's own test stands for the person who labels.
    """
    import tempfile
    import time
    from dataclasses import replace

    import torch
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.cli.detector import read_labelled, summary_line
    from physai_ros.cli.listed import listed
    from physai_ros.cli.results import write_json
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.feedback.detector_audit import Audit, Judged
    from physai_ros.training.detector_training import DetectorRecipe, train_detector

    counts = sorted(int(count) for count in listed(labelled))
    torch.set_num_threads(1)
    console, rows = Console(), []
    with tempfile.TemporaryDirectory(prefix="physai-") as scratch:
        folder, total = data or Path(scratch), counts[-1] + held_out
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("episodes", total=total)
            _watch(folder, total, demonstrations, seed, lambda: progress.advance(bar))
        store = EpisodeStore(folder / "episodes", create=False)
        names = store.ids()[:total]
        outlook, _task, episodes = read_labelled(store, names, listed(cameras), image_size, trust_test=True)
    fresh = episodes[counts[-1] :]
    for count in counts:
        shown = episodes[:count]
        won = sum(each.success for each in shown)
        possible = [rate for rate in map(float, listed(rates)) if DetectorRecipe(rate).least <= min(won, count - won)]
        console.print(f"[bold]{count} labelled[/bold], {won} successes, {count - won} failures")
        if not possible:
            console.print("  too few for any of these rates")
            continue
        began = time.process_time()
        made = train_detector(shown, outlook, DetectorRecipe(rate=possible[-1], seed=seed))
        seconds = time.process_time() - began
        logits = [made.logits(each.glances) for each in fresh]
        for rate in possible:
            at_rate = replace(made, rate=rate)
            judged = [
                Judged.of(at_rate, each.episode_id, each.glances, each.success, each.success, known)
                for each, known in zip(fresh, logits, strict=True)
            ]
            audit = Audit.of(judged)
            rows.append(
                {"labelled": count, "successes": won, "failures": count - won, "rate": rate}
                | {"train_cpu_seconds": seconds}
                | audit.figures()
                | {"wrong": [row.row() for row in judged if row.finding != "right"]}
            )
            console.print(f"  {seconds:.0f} s of CPU; {summary_line(audit, rate)}")
    if json_file is not None:
        names_of = ("false_success", "missed", "premature")
        figures = {
            f"{name}_{row['labelled']}_at_{row['rate']:g}{part}": row[f"{name}{part}"]
            for row in rows
            for name in names_of
            for part in ("", "_lower", "_upper")
        }
        figures |= {f"train_cpu_seconds_{row['labelled']}": row["train_cpu_seconds"] for row in rows}
        write_json(json_file, "bench detector", seed, figures | {"held_out": held_out}, rows=rows)


def _watch(folder: Path, count: int, demonstrations: int, seed: int, on_episode: Callable[[], None]) -> None:
    """Run a policy that imitates a few demonstrations, with cameras; what is there already is not run again."""
    from physai_ros.evaluation.driving import DemonstrationNoise
    from physai_ros.evaluation.parallel import TrialCrew
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.evaluation.scenario_sets import scenario_seeds
    from physai_ros.evaluation.trials import Trial, TrialSettings
    from physai_ros.experience.episode import Purpose
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task
    from physai_ros.training.config import TrainerConfig
    from physai_ros.transfer.first_policy import first_policy

    policy = folder / "policy"
    if not (policy / "registry" / "CURRENT").exists():
        rollout = Rollout(RobotSpec.load("fr3_sim"), load_task("pick_place"))
        first_policy(
            rollout,
            policy,
            TrainerConfig(seed=seed, warm_start_updates=_UPDATES),
            demonstrations=demonstrations,
            seed=seed,
            noise=DemonstrationNoise(),
            on_demonstration=lambda _done, _total: None,
            on_update=lambda _done, _total: None,
        )
        rollout.close()
    kept = str(folder / "episodes")
    settings = TrialSettings(
        "pick_place", registry=str(policy / "registry"), store=kept, cameras=("scene", "wrist"), image_size=84
    )
    trials = [
        Trial(index, scenario_seed, _VERSION, int(Purpose.TRAIN), episode_id=f"episode-{index:05d}")
        for index, scenario_seed in enumerate(scenario_seeds("train", seed, count))
    ]
    store = EpisodeStore(kept)
    missing = [trial for trial in trials if trial.episode_id not in store]
    for _ in range(count - len(missing)):
        on_episode()
    with TrialCrew(0) as crew:
        crew.run(missing, settings, on_result=lambda _result: on_episode())
