"""What a report is drawn from: a run's own record, what lies beside it, or, without a record, what lies there alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from physai_ros import __version__
from physai_ros.evaluation.jobs import JobStatus, read_status
from physai_ros.evaluation.run_record import ComparisonRow, EpisodeRow, HealthRow, LatencyRow, PolicyChange, RunRecord
from physai_ros.evaluation.timing import timing_of
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.feedback.collector import EpisodeFeedbackRecord
from physai_ros.feedback.health import assess_health
from physai_ros.policy.history import read_history
from physai_ros.tasks.catalog import load_task

CYCLE = 10.0  # [ms] control cycle: what anything between a measurement and its command may take
_LATENCY = re.compile(r"(?P<name>\w+)_p50_ms")


def read_run(folder: Path) -> RunRecord:
    """The record of a run, with tests, health, latency and timing where they can be found.

    `physai demo` leaves `run.json`; of any other run folder, such as that of `physai up`, the episode store and the
    registry are read.

    Raises:
        ValueError: the folder holds neither.
    """
    if (folder / "run.json").exists() or not ((folder / "episodes").is_dir() or (folder / "registry").is_dir()):
        run = RunRecord.read(folder)
    else:
        run = _found(folder)
    run.tests = run.tests or tests_in(folder / "registry" / "evaluations")
    run.health = run.health or health_of(run.episodes)
    run.latency = run.latency or latency_of(run.figures)
    run.timing = run.timing or timing_of(folder)
    return run


def tests_in(folder: Path) -> list[ComparisonRow]:
    """Every comparison that was finished in a folder of evaluations, oldest first."""
    rows = []
    for path in sorted(folder.glob("*.json"), key=lambda path: (path.stat().st_mtime, path.name)):
        status = read_status(folder, path.stem)
        figures = status.report.get("figures", {}) if status is not None and status.state == "done" else {}
        if figures.get("gain") is not None:
            rows.append(_test_row(status, figures, len(rows)))
    return rows


def health_of(episodes: Sequence[EpisodeRow]) -> list[HealthRow]:
    """What is to be said of the learning after each training episode; where it changes, no line for each."""
    records, rows = [], []
    for episode in (row for row in episodes if row.purpose == "train"):
        records.append(_feedback(episode))
        found = assess_health(records)
        if not rows or rows[-1].state != found.state.value:
            rows.append(HealthRow(len(records), found.state.value, found.evidence, found.advice))
    if rows:
        last = assess_health(records)
        rows.append(HealthRow(len(records), last.state.value, last.evidence, last.advice))
    return rows


def latency_of(figures: dict[str, float]) -> list[LatencyRow]:
    """Times among the figures of a run: names that end in `_p50_ms` and have a `_p99_ms` beside them."""
    rows = []
    for key, median in figures.items():
        name = _LATENCY.fullmatch(key)
        late = figures.get(f"{name['name']}_p99_ms") if name else None
        if late is not None and median is not None and median == median:
            rows.append(LatencyRow(name["name"].replace("_", " "), float(median), float(late), CYCLE))
    return rows


def _test_row(status: JobStatus, figures: dict[str, float], order: int) -> ComparisonRow:
    request = status.request
    return ComparisonRow(
        evaluation_id=status.evaluation_id,
        version=request.policy,
        against=request.against,
        scenario_set=request.scenario_set,
        verdict=status.verdict,
        detail=status.detail,
        pairs=int(figures["pairs"]),
        success=figures["success"],
        success_against=figures["success_against"],
        gain=figures["gain"],
        gain_lower=figures["gain_lower"],
        gain_upper=figures["gain_upper"],
        order=float(order),
    )


def _feedback(row: EpisodeRow) -> EpisodeFeedbackRecord:
    """As much of an episode's feedback as a row of the record holds; that samples were lost it does not know."""
    return EpisodeFeedbackRecord(
        episode_id=row.episode_id,
        purpose=Purpose.TRAIN,
        task="",
        policy_version=row.policy_version,
        success=row.success,
        reward=float(row.success),
        failure_mode=row.failure_mode,
        confidence=1.0,
        duration=row.duration,
        peak_force=row.peak_force,
        smoothness=0.0,
        interventions=row.interventions,
        intervention_seconds=row.intervention_seconds,
        safety_stops=row.safety_stops,
        samples=1,
        lost_samples=0,
        complete=True,
    )


def _found(folder: Path) -> RunRecord:
    """A record made from the episode store and the registry of a run folder; times count from its first episode."""
    run = RunRecord(command="up", version=__version__)
    run.notes.append("This run left no record of its own: it is drawn from its episodes and its registry.")
    try:
        store = EpisodeStore(folder / "episodes", create=False)
        files = {name: store.path(name).stat().st_mtime for name in store.ids()}
        summaries = store.summaries()
    except StoreError:
        files, summaries = {}, {}
    began, arm_time = min(files.values(), default=0.0), 0.0
    for name in sorted(summaries, key=lambda name: (files[name], name)):
        summary = summaries[name]
        record = EpisodeFeedbackRecord.from_summary(summary)
        arm_time += record.duration
        run.task, run.robot = record.task, summary.context.robot
        run.instruction = summary.context.instruction
        row = EpisodeRow(
            index=len(run.episodes),
            episode_id=name,
            purpose=record.purpose.name.lower(),
            success=record.success,
            failure_mode=record.failure_mode,
            policy_version=record.policy_version,
            wall_time=files[name] - began,
            arm_time=arm_time,
            duration=record.duration,
            interventions=record.interventions,
            intervention_seconds=record.intervention_seconds,
            peak_force=record.peak_force,
            safety_stops=record.safety_stops,
        )
        run.episodes.append(row)
    if (folder / "registry").is_dir():
        for past in read_history(folder / "registry"):
            after = sum(1 for time in files.values() if time <= past.stamp)
            active = past.activation
            when = max(0.0, past.stamp - began) if files else 0.0
            run.changes.append(PolicyChange(active.version, active.verdict, after, when, active.reason))
    try:
        run.force_budget = load_task(run.task).force_budget
    except ValueError:
        pass  # a task of somebody's own, which is not at hand here
    run.figures = {"episodes": float(len(run.episodes)), "activations": float(len(run.changes))}
    return run
