"""A report renders from a run's folder, needs no network, and says what is wrong with a folder that is none."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from physai_ros.cli.results import write_json
from physai_ros.evaluation.report import write_report
from physai_ros.evaluation.run_record import (
    ActivationSample,
    ComparisonRow,
    EpisodeRow,
    FrameStrip,
    HealthRow,
    HeldOutEvaluation,
    LatencyRow,
    PolicyChange,
    RunRecord,
    SelectionShare,
    TimingRow,
)
from physai_ros.evaluation.run_sources import health_of, latency_of, read_run
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.experience.episode import Episode
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry


def example_run(folder: Path) -> RunRecord:
    """A made-up run with everything that a report can show."""
    generator = np.random.default_rng(0)
    seeds = scenario_seeds("held_out", 0, 100)
    run = RunRecord(
        version="0.1.0",
        task="pick_place",
        instruction="put the <cube> on the target",
        robot="fr3_sim",
        force_budget=40.0,
        activation_target=0.06,
        machine={"cores": 2, "python": "3.12"},
        figures={"success_before": 0.27, "success_after": 0.94, "episodes": 80},
        notes=["The arm's physics differ from those that the policy was warm-started on."],
    )
    for i in range(80):
        skill = 0.25 + 0.7 * i / 80
        helped = generator.random() > skill and generator.random() < 0.6
        success = bool(helped or generator.random() < skill)
        run.episodes.append(
            EpisodeRow(
                index=i,
                episode_id=f"{i:06d}",
                purpose="train",
                success=success,
                failure_mode="none"
                if success
                else str(generator.choice(["timeout", "drop", "collision", "unstable_grasp"])),
                policy_version=f"{i // 10:06d}",
                wall_time=9.0 * (i + 1),
                arm_time=7.0 * (i + 1),
                duration=7.0,
                interventions=int(helped),
                peak_force=float(generator.gamma(4.0, 4.0)),
                safety_stops=int(i in (7, 30)),
            )
        )
    for label, role, rate, after in (
        ("before", "before", 0.27, 0),
        ("after", "after", 0.94, 80),
        ("trainer off", "control", 0.28, 80),
        ("interventions off", "control", 0.2, 80),
        ("uniform sampling", "control", 0.9, 80),
    ):
        successes = tuple(bool(x) for x in generator.random(100) < rate)
        run.evaluations.append(HeldOutEvaluation(label, role, "000001", seeds, successes, after, 9.0 * after))
    run.changes = [
        PolicyChange(f"{i:06d}", "better", 10 * i, 90.0 * i, "17 of 20 against 12 of 20") for i in range(1, 8)
    ]
    run.activation = [
        ActivationSample(t, t * 10, 0.06 + 0.02 * float(np.sin(t / 50)) + 0.1 * 0.99**t) for t in range(0, 720, 5)
    ]
    run.selection = [
        SelectionShare("demonstrations", 0.3, 0.12),
        SelectionShare("corrections", 0.08, 0.31),
        SelectionShare("contact", 0.2, 0.33),
        SelectionShare("failures", 0.12, 0.2),
        SelectionShare("idle", 0.3, 0.04),
    ]
    (folder / "frames").mkdir(parents=True)
    for name in ("before", "after"):
        files = []
        for k in range(6):
            image = np.full((120, 160, 3), 0.85)
            image[90:, :] = 0.6
            image[70:90, 20 + 20 * k : 40 + 20 * k] = (0.1, 0.4, 0.7)
            files.append(f"frames/{name}_{k}.png")
            matplotlib.image.imsave(folder / files[-1], image)
        title = "A failure before" if name == "before" else "A success after"
        run.strips.append(FrameStrip(title, "same scenario", tuple(files), tuple(1.5 * k for k in range(6))))
    verdicts = ("better", "not_worse", "worse", "not_worse", "better", "no_difference", "not_enough_trials")
    for i, verdict in enumerate(verdicts, start=1):
        gain = {"better": 0.4, "worse": -0.35}.get(verdict, 0.05)
        version, against = f"{i + 1:06d}", f"{i:06d}"
        numbers = (20, 0.5 + gain, 0.5, gain, gain - 0.25, min(gain + 0.25, 1.0), float(i))
        run.tests.append(
            ComparisonRow(f"promotion-{version}", version, against, "promotion", verdict, "made up", *numbers)
        )
    run.latency = [LatencyRow("state to command", 5.2, 11.8, 10.0), LatencyRow("decision of safety", 0.3, 0.9, 10.0)]
    run.health = [
        HealthRow(10, "not_started", "too few"),
        HealthRow(25, "stuck", "no trend", "intervene more"),
        HealthRow(40, "learning", "unaided success 5/20 then 15/20"),
        HealthRow(80, "learning", "unaided success 5/20 then 19/20"),
    ]
    for node, cycle, age in (("driver_node", 0.5, 0.0), ("policy_inference", 0.9, 4.0), ("safety_monitor", 1.1, 9.0)):
        for second in range(1, 200):
            slow = 14.0 if node == "policy_inference" and second == 120 else 1.0
            times = tuple(
                cycle * factor * float(generator.gamma(60.0, 1 / 60)) for factor in (1.0, 1.4, 2.0, 3.0 * slow)
            )
            ages = tuple(age * factor for factor in (1.0, 1.2, 1.5, 2.0)) if age else (math.nan,) * 4
            run.timing.append(TimingRow(node, float(second), 100, 3 if slow > 1.0 else 0, 10.0, times, ages))
    run.write(folder)
    return run


def test_a_record_reads_as_it_was_written(tmp_path: Path) -> None:
    run = example_run(tmp_path)
    assert repr(RunRecord.read(tmp_path)) == repr(run)  # a number that is not there equals nothing, not even itself


def test_a_report_holds_every_picture_and_loads_nothing(tmp_path: Path) -> None:
    example_run(tmp_path)
    path = write_report(tmp_path)
    page = path.read_text()
    names = ("before_after", "success", "versions", "health", "timing", "gate", "safety", "frames_0", "frames_1")
    for name in (f"{name}.png" for name in names):
        data = (tmp_path / name).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert base64.b64encode(data).decode() in page
        assert matplotlib.image.imread(tmp_path / name).std() > 0.01
    assert not re.search(r"https?://|<script|@import", page)
    assert "&lt;cube&gt;" in page
    assert "<cube>" not in page
    assert "95 % interval" in page


def test_a_run_that_was_cut_short_still_has_a_report(tmp_path: Path) -> None:
    RunRecord(task="reach").write(tmp_path)
    assert write_report(tmp_path).stat().st_size > 1000


def test_a_run_without_a_record_is_drawn_from_its_episodes_and_its_registry(
    tmp_path: Path, demonstrations: list[Episode], own_registry: PolicyRegistry
) -> None:
    store = EpisodeStore(tmp_path / "up" / "episodes")
    for episode in demonstrations[:2]:
        store.write(episode)
    shutil.copytree(own_registry.folder, tmp_path / "up" / "registry")
    PolicyRegistry(tmp_path / "up" / "registry").activate("000002", verdict="initial", reason="the first")
    run = read_run(tmp_path / "up")
    assert (run.task, len(run.episodes), run.force_budget) == ("reach", 2, 20.0)
    assert [(change.version, change.verdict) for change in run.changes] == [("000002", "initial")]
    page = write_report(tmp_path / "up", tmp_path / "out").read_text()
    assert "left no record of its own" in page
    assert "the first" in page


def test_health_and_latency_come_from_what_was_recorded(tmp_path: Path) -> None:
    run = example_run(tmp_path)
    states = health_of(run.episodes)
    assert states[0].state == "not_started"
    assert (states[-1].state, states[-1].after_episodes) == ("learning", 80)
    (row,) = latency_of({"state_to_command_p50_ms": 5.0, "state_to_command_p99_ms": 12.0, "wall_seconds": 3.0})
    assert (row.name, row.p50, row.p99, row.budget) == ("state to command", 5.0, 12.0, 10.0)


def test_a_folder_without_a_run_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run.json"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(ValueError, match="has schema 99; this version reads 1"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "colour": 3}))
    with pytest.raises(ValueError, match="colour"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        write_report(tmp_path)


def test_what_other_commands_measured_becomes_tables(tmp_path: Path) -> None:
    example_run(tmp_path / "run")
    told = [{"mode": "drop", "named": "drop"}] * 3 + [{"mode": "drop", "named": "timeout"}]
    fault = {"fault": "policy_killed", "lost": 0, "rest_ms": None, "braking_bound_ms": None, "recovery_ms": 900.0}
    faults = [fault | {"detect_ms": time, "passed": time < 100} for time in (60.0, 70.0, 120.0)]
    results = []
    for command, figures, rows in (
        ("bench classification", {"correct": 0.75, "correct_lower": 0.2}, told),
        ("faults", {}, faults),
        ("bench recording", {}, [{"stream": "robot_state", "kept": 17, "stamps": [1, 2]}]),
        ("bench replay", {"ratio": 1.25}, []),
    ):
        results.append(tmp_path / f"{command}.json")
        write_json(results[-1], command, 0, figures, rows=rows)
    text = write_report(tmp_path / "run", tmp_path / "out", results).read_text()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    assert cells[cells.index("drop") :][:4] == ["drop", "3", "1", "75.0%"]
    assert cells[cells.index("policy_killed") :][:7] == [
        "policy_killed",
        "70 (120)",
        "—",
        "—",
        "900 (900)",
        "0",
        "2 of 3",
    ]
    assert ["robot_state", "17", "ratio", "1.25"] == cells[cells.index("robot_state") :][:4]
    (tmp_path / "other.json").write_text('{"rows": []}')
    with pytest.raises(ValueError, match=r"other\.json is not a result.*--json"):
        write_report(tmp_path / "run", tmp_path / "out", [tmp_path / "other.json"])
