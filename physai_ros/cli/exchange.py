"""`physai import lerobot|bag` and `physai export lerobot`: episodes from and to other people's formats."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physai_ros.cli.export_onnx import onnx

if TYPE_CHECKING:
    from physai_ros.experience.episode import Episode
    from physai_ros.experience.summary import EpisodeSummary

import_command = typer.Typer(no_args_is_help=True, help="Take in episodes that others recorded.")
export_command = typer.Typer(no_args_is_help=True, help="Give episodes and policies to other tools.")
export_command.command()(onnx)

Store = Annotated[Path, typer.Option("--out", help="Folder of the episode store; made if need be.")]
Seed = Annotated[int, typer.Option(help="Noted in the figures; nothing here is drawn by chance.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Robot = Annotated[
    str, typer.Option(help="Robot configuration, by name or path: gives rate, tool pose and the tool's steps.")
]


@export_command.command("lerobot")
def export_to_lerobot(
    data: Annotated[Path, typer.Option(help="Folder of the episode store.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; it must not exist.")],
    fps: Annotated[int, typer.Option(min=0, max=1000, help="Frames a second; 0: every sample.")] = 0,
    task: Annotated[str, typer.Option(help="Episodes of this task alone.")] = "",
    purpose: Annotated[str, typer.Option(help="train, demonstrate or evaluate alone.")] = "",
    successes: Annotated[bool, typer.Option(help="Successful episodes alone.")] = False,
    codec: Annotated[str, typer.Option(help="Of the videos: h264 or av1.")] = "h264",
    exact: Annotated[bool, typer.Option(help="Take every column along, so that importing gives all back.")] = True,
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Write episodes as a LeRobotDataset v3.0, which LeRobot's own `LeRobotDataset` loads."""
    from physai_ros.cli.results import write_json
    from physai_ros.experience.episode import Purpose
    from physai_ros.experience.lerobot_export import export_lerobot
    from physai_ros.experience.store import EpisodeStore

    if purpose and purpose.upper() not in Purpose.__members__:
        raise ValueError(f"purpose '{purpose}'; expected train, demonstrate or evaluate")
    store = EpisodeStore(data, create=False)
    chosen = [
        episode_id
        for episode_id, summary in store.summaries().items()
        if (not task or summary.context.task == task)
        and (not purpose or summary.context.purpose == Purpose[purpose.upper()])
        and (summary.outcome.success or not successes)
        and summary.samples
    ]
    episodes = ((store.read(name, pictures=True), store.summary(name)) for name in chosen)
    result = export_lerobot(_shown(episodes, len(chosen)), out, fps=fps, codec=codec, exact=exact)
    cameras = f", cameras {', '.join(result.cameras)}" if result.cameras else ""
    kept = "importing it gives the same episodes back" if result.exact else "a part of what the episodes hold"
    typer.echo(f"{out}: {result.episodes} episodes, {result.frames} frames at {result.fps} Hz{cameras}; {kept}")
    if json_file is not None:
        figures = {"episodes": result.episodes, "frames": result.frames, "fps": result.fps}
        write_json(json_file, "export lerobot", seed, figures)


@import_command.command("lerobot")
def import_from_lerobot(
    dataset: Annotated[Path, typer.Argument(help="Folder of the dataset, the one with meta/info.json.")],
    out: Store,
    robot: Robot = "",
    task: Annotated[str, typer.Option(help="Task that the episodes are of; else the dataset's words.")] = "",
    degrees: Annotated[bool, typer.Option(help="The dataset's joint angles are in degrees.")] = False,
    gripper_open: Annotated[float, typer.Option(help="The gripper's value when it is open.")] = 1.0,
    gripper_closed: Annotated[float, typer.Option(help="The gripper's value when it is closed.")] = 0.0,
    outcome: Annotated[str, typer.Option(help="success: all are; unknown: as next.success says.")] = "unknown",
    prefix: Annotated[str, typer.Option(help="Beginning of the episodes' ids.")] = "lerobot",
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Take in a LeRobotDataset v3.0: ours come back as they were, those of others as demonstrations."""
    from physai_ros.experience.lerobot_import import ForeignData, import_lerobot

    if outcome not in ("success", "unknown"):
        raise ValueError(f"outcome '{outcome}'; expected success or unknown")
    foreign = ForeignData(robot, task, degrees, gripper_open, gripper_closed, outcome, prefix)
    _take_in(import_lerobot(dataset, foreign), out, "import lerobot", seed, json_file)


@import_command.command("bag")
def import_from_bag(
    bag: Annotated[Path, typer.Argument(help="Folder of the bag, MCAP or sqlite3, or the .mcap or .db3 file.")],
    out: Store,
    mapping: Annotated[Path, typer.Option(help="YAML that says which topic is what; see docs/data.md.")],
    seed: Seed = 0,
    json_file: JsonFile = None,
) -> None:
    """Take in a rosbag2 of your own robot; a mapping file says which topic is what."""
    from physai_ros.experience.bag_import import import_bag
    from physai_ros.experience.bag_mapping import BagMapping

    _take_in(import_bag(bag, BagMapping.load(mapping)), out, "import bag", seed, json_file)


def _take_in(
    episodes: "Iterable[tuple[Episode, EpisodeSummary]]", out: Path, command: str, seed: int, json_file: Path | None
) -> None:
    from physai_ros.cli.results import write_json
    from physai_ros.experience.store import EpisodeStore

    store = EpisodeStore(out)
    rows, there = [], 0
    for episode, summary in episodes:
        if episode.context.episode_id in store:
            there += 1
            continue
        store.write(episode, _judged(episode, summary))
        rows.append({"episode": episode.context.episode_id, "samples": len(episode), "seconds": episode.duration})
    note = f"; {there} were there already" if there else ""
    typer.echo(f"{out}: {len(rows)} episodes, {sum(row['seconds'] for row in rows):.0f} s{note}")
    if json_file is not None:
        figures = {"episodes": len(rows), "skipped": there, "seconds": sum(row["seconds"] for row in rows)}
        write_json(json_file, command, seed, figures, rows=rows)


def _judged(episode: "Episode", summary: "EpisodeSummary") -> "EpisodeSummary":
    """The summary that came along, or one made now where it holds no figures."""
    from physai_ros.feedback.collector import PhysicalFeedbackCollector

    return summary if summary.metrics else PhysicalFeedbackCollector().summarize(episode)


def _shown(
    episodes: "Iterable[tuple[Episode, EpisodeSummary]]", count: int
) -> "Iterator[tuple[Episode, EpisodeSummary]]":
    from rich.console import Console
    from rich.progress import track

    yield from track(episodes, "episodes", count, console=Console(stderr=True), transient=True)
