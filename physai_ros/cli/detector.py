"""`physai detector train|audit`: a success detector from labelled episodes, and where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physai_ros.cli.listed import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from physai_ros.experience.store import EpisodeStore
    from physai_ros.feedback.detector_audit import Audit, Judged
    from physai_ros.tasks.task import Task
    from physai_ros.training.detector_training import LabelledEpisode

Data = Annotated[Path, typer.Option(help="Folder of the episode store.")]
Strips = Annotated[
    Path | None, typer.Option(help="Folder that gets the pictures of every episode that it is wrong about.")
]
TrustTest = Annotated[
    bool, typer.Option("--trust-test", help="Take the word of the task's test where no person judged an episode.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]

detector = typer.Typer(no_args_is_help=True, help="A success detector from labelled episodes, calibrated and audited.")


@detector.command("train")
def train_command(
    data: Data,
    out: Annotated[Path, typer.Option(help="File of the detector, .safetensors.")],
    rate: Annotated[
        float, typer.Option("--false-success-rate", min=0.001, max=0.5, help="Share of failures called a success.")
    ] = 0.05,
    in_a_row: Annotated[int, typer.Option(min=1, max=50, help="Glances, 0.1 s apart, that must say success.")] = 2,
    cameras: Annotated[str, typer.Option(help="What it looks through.")] = "scene,wrist",
    image_size: Annotated[int, typer.Option(min=8, max=512, help="Height and width of what it sees [pixel].")] = 42,
    doubt: Annotated[
        float, typer.Option(min=0.0, help="Time before its end from which a success may show already [s].")
    ] = 0.65,
    updates: Annotated[int, typer.Option(min=1, help="Of each of its networks.")] = 100,
    trust_test: TrustTest = False,
    strips: Strips = None,
    seed: Annotated[int, typer.Option(min=0, help="Of folds, weights and batches.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Train a detector on the episodes that people labelled, and say which of them it would call wrong.

    Each is judged by a network that was not trained on it.
    """
    import time

    import torch
    from rich.console import Console
    from rich.progress import Progress

    from physai_ros.cli.results import write_json
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.feedback.detector_audit import Audit, Judged, test_of
    from physai_ros.feedback.detector_file import write_detector
    from physai_ros.training.detector_training import DetectorRecipe, train_detector

    torch.set_num_threads(1)
    recipe = DetectorRecipe(rate, in_a_row, doubt=doubt, final=min(0.35, doubt), updates=updates, seed=seed)
    began = time.process_time()
    store = EpisodeStore(data, create=False)
    names = judged_episodes(store, trust_test=trust_test)
    outlook, task, episodes = read_labelled(store, names, listed(cameras), image_size, trust_test=trust_test)
    read = time.process_time()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("updates", total=recipe.folds * recipe.updates)
        made = train_detector(episodes, outlook, recipe, lambda: progress.advance(bar))
    made = write_detector(out, made)
    trained = time.process_time()
    won = sum(each.success for each in episodes)
    typer.echo(
        f"{out}: detector {made.digest}, trained on {won} successes and {len(episodes) - won} failures of "
        f"{outlook.task} in {trained - read:.0f} s of CPU, {read - began:.0f} s to read them"
    )
    rows = [
        Judged.of(made, each.episode_id, each.glances, each.success, test_of(store.summary(each.episode_id)))
        for each in episodes
    ]
    show(rows, rate)
    write_wrong(store, rows, strips)
    if json_file is not None:
        figures = {
            "episodes": len(episodes),
            "successes": won,
            "false_success_rate_set": rate,
            "train_cpu_seconds": trained - read,
            "read_cpu_seconds": read - began,
        }
        write_json(
            json_file, "detector train", seed, figures | Audit.of(rows).figures(), rows=[row.row() for row in rows]
        )


@detector.command("audit")
def audit_command(
    file: Annotated[Path, typer.Argument(metavar="DETECTOR", help="File of the detector.")],
    data: Data,
    trust_test: TrustTest = False,
    strips: Strips = None,
    seed: Annotated[int, typer.Option(help="Noted in the figures; nothing here is drawn by chance.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Count what a detector is wrong about among the episodes that people judged, with exact intervals."""
    import torch

    from physai_ros.cli.results import write_json
    from physai_ros.experience.store import EpisodeStore, StoreError
    from physai_ros.feedback.detector_audit import Audit, judge_stored
    from physai_ros.feedback.detector_file import read_detector
    from physai_ros.tasks.catalog import load_task

    torch.set_num_threads(1)
    made, store = read_detector(file), EpisodeStore(data, create=False)
    names = [
        name
        for name in judged_episodes(store, trust_test=trust_test)
        if store.summary(name).context.task == made.outlook.task
    ]
    if not names:
        raise StoreError(f"{data} holds no judged episode of {made.outlook.task}; label some with `physai label`")
    task = load_task(made.outlook.task)
    rows = [judge_stored(made, store, name, task, trust_test=trust_test) for name in names]
    show(rows, made.rate)
    write_wrong(store, rows, strips)
    if json_file is not None:
        figures = {"episodes": len(rows), "false_success_rate_set": made.rate}
        write_json(
            json_file, "detector audit", seed, figures | Audit.of(rows).figures(), rows=[row.row() for row in rows]
        )


def judged_episodes(store: EpisodeStore, *, trust_test: bool = False) -> list[str]:
    """Ids of the complete episodes of which it is known how they went."""
    from physai_ros.feedback.detector_audit import truth_of

    return [
        name
        for name, summary in store.summaries().items()
        if summary.complete and truth_of(store.annotations.of(name).label, summary, trust_test=trust_test) is not None
    ]


def read_labelled(
    store: EpisodeStore, names: Sequence[str], cameras: tuple[str, ...], size: int, *, trust_test: bool = False
) -> tuple[object, Task, list[LabelledEpisode]]:
    """How these episodes are seen, their task, and what was seen of each.

    Raises:
        StoreError: there is none.
        ValueError: they are of several tasks, or lack a camera's pictures.
    """
    from physai_ros.experience.store import StoreError
    from physai_ros.feedback.detector_audit import truth_of
    from physai_ros.feedback.glances import Outlook
    from physai_ros.tasks.catalog import load_task
    from physai_ros.training.detector_training import LabelledEpisode

    if not names:
        raise StoreError(f"{store.folder} holds no episode that a person judged; label some with `physai label`")
    tasks = sorted({store.summary(name).context.task for name in names})
    if len(tasks) > 1:
        raise ValueError(f"the judged episodes are of {', '.join(tasks)}; a detector is of one task: split the store")
    task, outlook, found = load_task(tasks[0]), None, []
    for name in names:
        episode = store.read(name, pictures=True)
        outlook = outlook or Outlook.on(task, episode, cameras, size)
        truth = truth_of(store.annotations.of(name).label, store.summary(name), trust_test=trust_test)
        found.append(LabelledEpisode(name, outlook.glances(episode, task), bool(truth)))
    return outlook, task, found


def show(rows: Sequence[Judged], rate: float) -> None:
    """Print how often a detector is wrong, and about which episodes."""
    from rich.console import Console
    from rich.table import Table

    from physai_ros.feedback.detector_audit import Audit

    audit, console = Audit.of(rows), Console()
    console.print(summary_line(audit, rate))
    wrong = [row for row in rows if row.finding not in ("right", "unjudged")]
    if wrong:
        table = Table("episode", "finding", "p", "task's test", "s before its end", box=None)
        for row in sorted(wrong, key=lambda row: row.finding):
            test = {None: "-", True: "success", False: "failure"}[row.test]
            lead = f"{row.lead:.1f}" if row.verdict.success else "-"
            table.add_row(row.episode_id, row.finding, f"{row.verdict.p_value:.3f}", test, lead)
        console.print(table)


def summary_line(audit: Audit, rate: float) -> str:
    """How often a detector is wrong, in a sentence."""
    return (
        f"false successes {_share(audit.false_success)}, set {rate:.1%}; missed {_share(audit.missed)}; premature "
        f"{_share(audit.premature)}; unlike the task's test {_share(audit.against_test)}"
    )


def write_wrong(store: EpisodeStore, rows: Sequence[Judged], folder: Path | None) -> None:
    """Write the pictures of the episodes that a detector is wrong about."""
    from physai_ros.experience.strip import write_strips

    for row in rows if folder is not None else ():
        if row.finding not in ("right", "unjudged"):
            name = f"{row.finding.replace(' ', '_')}-{row.episode_id}.png"
            write_strips(store.read(row.episode_id, pictures=True), folder / name)


def _share(share: object) -> str:
    if not share.episodes:
        return "none of 0"
    return f"{share.count} of {share.episodes} ({share.lower:.1%} to {share.upper:.1%})"
