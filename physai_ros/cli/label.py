"""`physai label`: a verdict on an episode, a person's or a detector's, while it runs or afterwards."""

from pathlib import Path
from typing import Annotated

import typer

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write what was said to this file.")]


def label(
    verdict: Annotated[
        str, typer.Argument(help="success, failure, a number from -1 to 1, or none to take the label away.")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="Folder of the episode store.")] = None,
    episode: Annotated[str, typer.Option(help="Id of the episode; the newest if none is named.")] = "",
    mode: Annotated[str, typer.Option(help="Why it failed, e.g. drop or collision.")] = "",
    note: Annotated[str, typer.Option(help="In your own words.")] = "",
    by: Annotated[str, typer.Option(help="Who says so.")] = "",
    frames: Annotated[Path | None, typer.Option(help="Write the episode's pictures as a strip to this PNG.")] = None,
    detector: Annotated[
        Path | None, typer.Option(help="Success detector that labels the episodes that no person judged.")
    ] = None,
    live: Annotated[bool, typer.Option(help="End the running episode of a graph with this verdict.")] = False,
    namespace: Annotated[str, typer.Option(help="Of the graph, with --live.")] = "physai",
    seed: Annotated[int, typer.Option(help="Noted in the figures; nothing here is drawn by chance.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Say how an episode went, or without a verdict see it; numbers above zero are success.

    Afterwards (--data) the recording stays as it is, and whoever reads the store sees your verdict. Live (--live) the
    running episode ends with it. With --detector a trained detector says it, of one episode or of all that no person
    judged; your word takes the place of its own at any time.
    """
    from physai_ros.cli.results import write_json
    from physai_ros.experience.annotations import Label
    from physai_ros.tasks.task import FAILURE_MODES

    if mode and mode not in FAILURE_MODES:
        raise ValueError(f"mode '{mode}'; expected one of {', '.join(FAILURE_MODES)}")
    if live == (data is not None):
        raise ValueError("name a store with --data, or --live for the episode that runs")
    if detector is not None:
        if verdict or live or mode:
            raise ValueError("with --detector the verdict is the detector's: give --data, and no verdict of your own")
        _label_by_detector(detector, data, episode, seed, json_file)
        return
    given = None
    if verdict not in ("", "none"):
        import time

        given = Label.parse(verdict, failure_mode=mode, by=by, note=note, stamp=time.time())
    if live:
        if given is None or abs(given.reward) != 1.0:
            raise ValueError("a running episode ends as success or failure; give numbers afterwards, with --data")
        named = _end_running(namespace, "success" if given.success else "failure", note)
    else:
        named = _label_stored(data, episode, verdict, given, frames)
    if json_file is not None:
        figures = {"reward": given.reward} if given is not None else {}
        write_json(json_file, "label", seed, figures, verdict or None, rows=[{"episode": named, "mode": mode}])


def _label_stored(data: Path, episode: str, verdict: str, given: object, frames: Path | None) -> str:
    from physai_ros.experience.store import EpisodeStore, StoreError
    from physai_ros.experience.strip import write_strips

    store = EpisodeStore(data, create=False)
    known = store.ids()
    if not known:
        raise StoreError(f"{data} holds no episode; collect some first, see `physai collect --help`")
    named = episode or max(known, key=lambda name: store.path(name).stat().st_mtime_ns)
    before = store.summary(named)
    if frames is not None:
        cameras = write_strips(store.read(named, pictures=True), frames)
        typer.echo(f"{frames}: {', '.join(cameras)}" if cameras else f"episode {named} has no pictures")
    if verdict:
        store.annotations.label(named, given)
    now = store.summary(named)
    was = "success" if before.outcome.success else before.failure_mode or before.outcome.failure_mode
    typer.echo(
        f"{named}: {now.context.task or 'no task'}, {now.duration:.1f} s, {was}"
        + (
            f" → {'success' if now.outcome.success else now.failure_mode} ({now.outcome.reward:+.2g})"
            if verdict
            else ""
        )
    )
    return named


def _label_by_detector(file: Path, data: Path, episode: str, seed: int, json_file: Path | None) -> None:
    """Label episodes by a detector; those that a person judged, and of other tasks, stay as they are."""
    import time

    import torch

    from physai_ros.cli.results import write_json
    from physai_ros.experience.annotations import Label
    from physai_ros.experience.store import EpisodeStore, StoreError
    from physai_ros.feedback.detector_audit import Audit, judge_stored, truth_of
    from physai_ros.feedback.detector_file import read_detector
    from physai_ros.tasks.catalog import load_task

    torch.set_num_threads(1)
    made, store = read_detector(file), EpisodeStore(data, create=False)
    task = load_task(made.outlook.task)
    rows = []
    for name in [episode] if episode else store.ids():
        summary = store.summary(name)
        if truth_of(store.annotations.of(name).label, summary) is not None:
            if episode:
                raise StoreError(f"a person judged episode {name}; `physai label none` takes that away first")
            continue
        if summary.context.task != made.outlook.task and not episode:
            continue
        try:
            judged = judge_stored(made, store, name, task)
        except ValueError as error:
            if episode:
                raise
            typer.echo(f"left out: {error}", err=True)
            continue
        given = Label.of_detector(judged.verdict.success, judged.verdict.p_value, made.digest, time.time())
        store.annotations.label(name, given)
        rows.append(judged)
    won, against = sum(row.verdict.success for row in rows), Audit.of(rows).against_test
    typer.echo(
        f"{data}: {len(rows)} episodes labelled by detector {made.digest}, {won} successes; unlike the task's test "
        f"{against.count} of {against.episodes}"
    )
    for row in rows:
        if row.test is not None and row.test != row.verdict.success:
            said = "success" if row.verdict.success else "failure"
            typer.echo(f"  {row.episode_id}: {said} (p {row.verdict.p_value:.3f}), unlike the task's test")
    if json_file is not None:
        figures = {"labelled": len(rows), "successes": won, "against_test_count": against.count}
        write_json(json_file, "label", seed, figures, made.digest, rows=[row.row() for row in rows])


def _end_running(namespace: str, word: str, reason: str) -> str:
    from physai_ros.ros.episode_label import end_running_episode

    named = end_running_episode(namespace, word, reason or "physai label")
    typer.echo(f"{named}: {word}")
    return named
