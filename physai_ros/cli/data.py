"""`physai data list|show|check DIR`: what a store holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.feedback.collector import EpisodeFeedbackRecord, Share

data = typer.Typer(no_args_is_help=True, help="List, show and check the episodes of a store.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the episode store.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


@data.command("list")
def list_episodes(folder: Folder, json_file: JsonFile = None) -> None:
    """List the episodes of a store and count them by task, policy version and failure mode."""
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json
    from physai_ros.feedback.collector import PhysicalFeedbackCollector

    collector = PhysicalFeedbackCollector(_open(folder))
    collector.load()
    table = Table("episode", "for", "task", "policy", "outcome", "s", "N", "helped", "samples", "lost", box=None)
    for column in table.columns[:5]:
        column.no_wrap = True
    for record in collector.records:
        table.add_row(
            record.episode_id,
            record.purpose.name.lower(),
            record.task,
            record.policy_version or "-",
            _outcome(record),
            f"{record.duration:.1f}",
            f"{record.peak_force:.1f}",
            str(record.interventions),
            str(record.samples),
            str(record.lost_samples),
        )
    console = Console()
    console.print(table)
    for by, title in (("task", "success"), ("policy_version", "success"), ("failure_mode", "share")):
        console.print(_share_table(collector.statistics(by), by.replace("_", " "), title))
    if json_file is not None:
        records = collector.records
        figures = {"episodes": len(records), "lost_samples": sum(record.lost_samples for record in records)}
        rows = [vars(record) | {"purpose": record.purpose.name.lower()} for record in records]
        write_json(json_file, "data list", 0, figures, rows=rows)


@data.command("show")
def show_episode(
    folder: Folder, episode: Annotated[str, typer.Argument(help="Id of the episode, as `list` shows it.")]
) -> None:
    """Show one episode: context, outcome with its evidence, metrics."""
    from rich.console import Console
    from rich.table import Table

    summary = _open(folder).summary(episode)
    table = Table("field", "value", title=f"episode {episode}")
    rows = {
        **vars(summary.context),
        "success": summary.outcome.success,
        "reward": summary.outcome.reward,
        "stage": summary.outcome.stage,
        "failure_mode": f"{summary.failure_mode or summary.outcome.failure_mode} ({summary.confidence:.0%} sure)",
        **{f"evidence: {name}": f"{value:.4g}" for name, value in summary.outcome.evidence.items()},
        "samples": summary.samples,
        "lost_samples": summary.lost_samples,
        "complete": summary.complete,
        **{name: f"{value:.4g}" for name, value in summary.metrics.items()},
    }
    for name, value in rows.items():
        table.add_row(name, getattr(value, "name", str(value)))
    Console().print(table)


@data.command("check")
def check_store(
    folder: Folder,
    recover: Annotated[bool, typer.Option(help="Make readable what a crash left behind.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Read every sample of a store and name what is wrong; exit with 1 if anything is."""
    from rich.console import Console

    from physai_ros.cli.results import write_json

    store, console = _open(folder), Console()
    recovered = store.recover() if recover else []
    for episode_id in recovered:
        console.print(f"recovered {episode_id}")
    problems = store.problems()
    for name, problem in problems.items():
        console.print(f"[red]{name}[/red]: {problem}", soft_wrap=True)
    count = len(store.ids())
    console.print(f"{count} episodes, {len(problems)} problems")
    figures = {"episodes": count, "problems": len(problems), "recovered": len(recovered)}
    if json_file is not None:
        rows = [{"file": name, "problem": problem} for name, problem in problems.items()]
        write_json(json_file, "data check", 0, figures, rows=rows)
    if problems:
        raise typer.Exit(1)


def _open(folder: Path) -> "EpisodeStore":
    from physai_ros.experience.store import EpisodeStore

    return EpisodeStore(folder, create=False)


def _outcome(record: "EpisodeFeedbackRecord") -> str:
    text = "[green]success[/green]" if record.success else f"[red]{record.failure_mode}[/red]"
    return text if record.complete else f"{text} (cut off)"


def _share_table(shares: "dict[str, Share]", name: str, title: str) -> object:
    from rich.table import Table

    table = Table(name, "episodes", title, "95 % interval")
    for key, share in shares.items():
        row = (str(share.episodes), f"{share.rate:.0%}", f"{share.lower:.0%} to {share.upper:.0%}")
        table.add_row(key or "-", *(row if title == "success" else (str(share.count), *row[1:])))
    return table
