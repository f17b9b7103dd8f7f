"""`physai data list|inspect|check DIR` and what `data_care` adds: what a store holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physai_ros.cli.data_care import mark, plot, prune, split

if TYPE_CHECKING:
    from physai_ros.experience.annotations import Label
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.feedback.collector import EpisodeFeedbackRecord, Share

data = typer.Typer(no_args_is_help=True, help="List, inspect, plot, split, check and tidy the episodes of a store.")
data.command()(plot)
data.command()(split)
data.command()(mark)
data.command()(prune)

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


@data.command("inspect")
@data.command("show", hidden=True)
def inspect_episode(
    folder: Folder, episode: Annotated[str, typer.Argument(help="Id of the episode, as `list` shows it.")]
) -> None:
    """Show one episode: context, outcome with its evidence, label, metrics, streams."""
    from rich.console import Console
    from rich.table import Table

    store = _open(folder)
    summary, said = store.summary(episode), store.annotations.of(episode)
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
        **({"label": _label_text(said.label)} if said.label else {}),
        **({"kept": said.marked} if said.marked else {}),
        **{name: f"{value:.4g}" for name, value in summary.metrics.items()},
        **{f"stream {name}": f"{n['messages']} messages, {n['lost']} lost" for name, n in summary.streams.items()},
    }
    for name, value in rows.items():
        table.add_row(name, getattr(value, "name", str(value)))
    Console().print(table)


def _label_text(label: "Label") -> str:
    return " ".join(part for part in (f"{label.reward:+.2g}", label.by, label.detector, label.note) if part)


@data.command("check")
def check_store(
    folder: Folder,
    recover: Annotated[bool, typer.Option(help="Make readable what a crash left behind.")] = False,
    repair: Annotated[bool, typer.Option(help="Make readable what can be read of damaged episodes.")] = False,
    against: Annotated[Path | None, typer.Option(help="Store whose training pictures are the measure.")] = None,
    seed: Annotated[int, typer.Option(help="Noted in the figures; nothing here is drawn by chance.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Read every sample of a store and name what is wrong; exit with 1 if a file is damaged.

    Warnings (time gaps, lost samples, saturated actions, duplicates, pictures unlike the training set) do not fail.
    """
    from rich.console import Console

    from physai_ros.cli.results import write_json
    from physai_ros.experience.quality import inspect_store

    store, console = _open(folder), Console()
    recovered = store.recover() if recover else []
    repaired = store.repair() if repair else []
    for word, names in (("recovered", recovered), ("repaired", repaired)):
        for episode_id in names:
            console.print(f"{word} {episode_id}")
    problems = store.problems()
    for name, problem in problems.items():
        console.print(f"[red]{name}[/red]: {problem}", soft_wrap=True)
    quality = inspect_store(store, _open(against) if against is not None else None)
    for name, warnings in quality.warnings.items():
        console.print(f"[yellow]{name}[/yellow]: {'; '.join(warnings)}", soft_wrap=True)
    count = len(store.ids())
    console.print(f"{count} episodes, {len(problems)} problems, {len(quality.warnings)} with warnings")
    if json_file is not None:
        figures = {
            "episodes": count,
            "problems": len(problems),
            "recovered": len(recovered),
            "repaired": len(repaired),
            "warnings": len(quality.warnings),
            "duplicates": sum(len(names) - 1 for names in quality.duplicates),
            "gaps": sum(each.gaps for each in quality.episodes),
            "lost_samples": sum(each.lost_samples for each in quality.episodes),
        }
        rows = [{"file": name, "problem": problem} for name, problem in problems.items()]
        rows += [{"file": name, "warning": word} for name, words in quality.warnings.items() for word in words]
        write_json(json_file, "data check", seed, figures, rows=rows)
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
