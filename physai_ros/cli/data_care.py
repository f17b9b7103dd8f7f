"""`physai data plot|split|mark|prune`: what is done with the episodes of a store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.experience.episode import Episode

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the episode store.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Name = Annotated[str, typer.Argument(help="Id of the episode, as `list` shows it.")]
Seed = Annotated[int, typer.Option(help="Of what is drawn; noted in the figures.")]


def plot(
    folder: Folder,
    episode: Name,
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    strip: Annotated[Path | None, typer.Option(help="Write the pictures as a strip to this PNG, too.")] = None,
) -> None:
    """Draw one episode: joints, tool force, gripper, who drove."""
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.experience.strip import write_strips

    read = EpisodeStore(folder, create=False).read(episode, pictures=strip is not None)
    _draw(read, out)
    typer.echo(f"{out}: {len(read)} samples, {read.duration:.1f} s")
    if strip is not None:
        cameras = write_strips(read, strip)
        typer.echo(f"{strip}: {', '.join(cameras)}" if cameras else f"episode {episode} has no pictures")


def _draw(episode: "Episode", out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import numpy as np
    from matplotlib import pyplot

    from physai_ros.robot.command import CommandSource

    series = episode.series
    time = series["stamp"] - (series["stamp"][0] if len(episode) else 0.0)
    figure, axes = pyplot.subplots(4, 1, figsize=(10, 9), sharex=True, layout="constrained")
    for index, name in enumerate(episode.joint_names):
        (line,) = axes[0].plot(time, series["joint_positions"][:, index], label=name)
        axes[0].plot(time, series["command_positions"][:, index], color=line.get_color(), linestyle=":", linewidth=0.8)
    axes[0].set_ylabel("joints [rad]\n(dotted: commanded)")
    axes[0].legend(fontsize=6, ncol=4)
    axes[1].plot(time, np.linalg.norm(series["wrench"].reshape(-1, 6)[:, :3], axis=1))
    axes[1].set_ylabel("tool force [N]")
    axes[2].plot(time, series["gripper_width"], label="opening [m]")
    axes[2].plot(time, 0.04 * (series["gripper_command"] + 1.0), linewidth=0.8, label="command, open on top")
    axes[2].set_ylabel("gripper")
    axes[2].legend(fontsize=6)
    axes[3].step(time, series["command_source"], where="post")
    axes[3].set_yticks([int(source) for source in CommandSource], [source.name.lower() for source in CommandSource])
    axes[3].set_xlabel("time [s]")
    context, outcome = episode.context, episode.outcome
    verdict = "success" if outcome.success else outcome.failure_mode
    figure.suptitle(f"{context.episode_id} · {context.task} · {verdict}")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)
    pyplot.close(figure)


def split(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="Folder that gets the stores train, validation and test.")],
    validation: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of the scenarios to validate on.")] = 0.1,
    test: Annotated[float, typer.Option(min=0.0, max=0.5, help="Share of the scenarios to test on.")] = 0.1,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Split a store by scenario; the same scenario always falls into the same part, however the store grows.

    Files are linked, not copied, where the disk permits. Evaluations stay out.
    """
    import os
    import shutil

    from physai_ros.cli.results import write_json
    from physai_ros.experience.episode import Purpose
    from physai_ros.experience.quality import split_of
    from physai_ros.experience.store import EpisodeStore

    store = EpisodeStore(folder, create=False)
    parts = {name: EpisodeStore(out / name) for name in ("train", "validation", "test")}
    rows = []
    for name, summary in store.summaries().items():
        context = summary.context
        if context.purpose == Purpose.EVALUATE:
            continue
        part = split_of(context.seed, context.scenario_json, validation, test, seed)
        target = parts[part].path(name)
        if not target.exists():
            try:
                os.link(store.path(name), target)
            except OSError:
                shutil.copy2(store.path(name), target)
            said = store.annotations.of(name)
            if said.label is not None:
                parts[part].annotations.label(name, said.label)
        rows.append({"episode": name, "part": part})
    counts = {name: sum(row["part"] == name for row in rows) for name in parts}
    typer.echo(f"{out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if json_file is not None:
        write_json(json_file, "data split", seed, counts, rows=rows)


def mark(
    folder: Folder,
    episode: Name,
    reason: Annotated[str, typer.Option(help="Why it is kept; nothing takes the mark away.")] = "",
) -> None:
    """Keep an episode whatever the quota says."""
    from physai_ros.experience.store import EpisodeStore

    store = EpisodeStore(folder, create=False)
    store.summary(episode)
    store.annotations.mark(episode, reason)
    typer.echo(f"{episode}: kept ({reason})" if reason else f"{episode}: no longer marked")


def prune(
    folder: Folder,
    quota: Annotated[float, typer.Option(min=0.0, help="Size that the store may have [GB].")],
    keep_training: Annotated[int, typer.Option(min=1, help="Newest training episodes that are kept.")] = 2000,
    dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Remove what neither training nor a person needs, until the store fits; exit with 1 if it does not.

    Demonstrations, interventions, labelled and marked episodes stay.
    """
    from physai_ros.cli.results import write_json
    from physai_ros.experience.retention import prune as remove
    from physai_ros.experience.store import EpisodeStore

    limit = round(quota * 1e9)
    report = remove(EpisodeStore(folder, create=False), limit, keep_training=keep_training, dry_run=dry_run)
    word = "would go" if dry_run else "removed"
    typer.echo(f"{len(report.removed)} files {word}, {report.freed / 1e6:.1f} MB; {report.size / 1e6:.1f} MB are left")
    if json_file is not None:
        figures = {"removed": len(report.removed), "freed_bytes": report.freed, "size_bytes": report.size}
        write_json(json_file, "data prune", seed, figures, rows=[{"file": name} for name in report.removed])
    if report.size > limit:
        typer.echo("the rest is needed: give it more room, or take marks away with `physai data mark`", err=True)
        raise typer.Exit(1)
