"""`physai evaluate` and `physai policies` on a registry."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.evaluation.parallel import run_trials
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.evaluation.trials import Trial, TrialSettings
from physai_ros.policy.registry import PolicyRegistry


def test_policies_are_compared_promoted_and_taken_back(own_registry: PolicyRegistry, tmp_path: Path) -> None:
    def physai(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    registry = ("--registry", own_registry.folder)
    assert "000001 is active, generation 1" in physai("policies", "promote", "000001", "--untested", *registry)
    file = tmp_path / "evaluate.json"
    pair = ("--policy", "000002", "--against", "current", "--task", "reach", "--episodes", 6, "--workers", 0)
    shown = physai("evaluate", *pair, *registry, "--json", file)
    assert "better: gain +100 points" in shown
    result = json.loads(file.read_text())
    assert result["verdict"] == "better"
    assert {"success", "lower", "upper", "episodes", "episodes_per_second", "p_value", "e_value"} <= set(
        result["figures"]
    )
    assert (result["figures"]["success"], result["figures"]["episodes"], len(result["rows"])) == (1.0, 12, 12)
    assert "000002 is active, generation 2: better" in physai(
        "policies", "promote", "000002", "--episodes", 6, *registry
    )
    assert "000001 is active again, generation 3" in physai("policies", "rollback", *registry)
    assert "generation 3, rollback" in physai("policies", "list", *registry)
    shown = physai("policies", "lineage", "000003", *registry)
    assert all(text in shown for text in ("000001", "000002", "000003", "generation 2: 000002 active, better"))
    entries = physai("policies", "regression", *registry)
    assert entries.count("promotion of 000002") == 6
    assert "weights of 0 of 3 versions would go" in physai("policies", "gc", "--dry-run", "--keep", 1, *registry)
    again = physai(
        "evaluate",
        "--scenario-set",
        "regression",
        "--episodes",
        2,
        "--policy",
        "000002",
        "--task",
        "reach",
        "--workers",
        0,
        *registry,
    )
    assert "100%" in again


def test_an_alarm_is_calibrated_on_a_store_and_drives_along(own_registry: PolicyRegistry, tmp_path: Path) -> None:
    settings = TrialSettings("reach", str(own_registry.folder), store=str(tmp_path / "store"))
    seeds = scenario_seeds("nominal", 3, 9)
    trials = [Trial(i, seed, "000002", episode_id=f"own-{i}") for i, seed in enumerate(seeds)]
    before = run_trials([*trials, Trial(9, seeds[0], "000003", episode_id="foreign")], settings)

    def calibrate(*arguments: object) -> tuple[int, str]:
        command = ["policies", "calibrate", "000002", "--registry", own_registry.folder, *arguments]
        result = CliRunner().invoke(app, [str(argument) for argument in command])
        return result.exit_code, f"{result.output} {result.exception}"

    code, said = calibrate()
    assert code
    assert "--store DIR" in said
    code, said = calibrate("--store", tmp_path / "store", "--false-alarm-rate", 0.05)
    assert code
    assert "9 successful episodes are too few" in said
    assert own_registry.load("000002").alarm is None

    file = tmp_path / "calibrate.json"
    code, said = calibrate("--store", tmp_path / "store", "--simulate", 2, "--false-alarm-rate", 0.25, "--json", file)
    assert code == 0, said
    assert "At most 25.0% of successful episodes alarm" in said
    figures = json.loads(file.read_text())["figures"]
    assert (figures["reference_episodes"], figures["calibration_episodes"]) == (3, 8)
    alarm = own_registry.load("000002").alarm
    assert (alarm.threshold, alarm.false_alarm_rate) == (figures["threshold"], 0.25)

    after = run_trials(
        [Trial(i, seed, "000002") for i, seed in enumerate(seeds)], TrialSettings("reach", settings.registry)
    )
    assert [one.success for one in after] == [one.success for one in before[:9]]
