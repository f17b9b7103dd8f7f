"""The commands round evaluation: figures in their file, one clear line where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from physai_ros.cli.main import app


def physai(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    with pytest.raises(SystemExit) as ended:
        app([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_demonstrations_are_collected_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("collect", "--task", "reach", "--episodes", 2, "--out", tmp_path / "episodes", "--workers", 0)
    code, _, errors = physai(capsys, *common, "--json", tmp_path / "collect.json")
    assert code == 0, errors
    result = json.loads((tmp_path / "collect.json").read_text())
    assert (result["command"], result["figures"]["episodes"], len(result["rows"])) == ("collect", 2, 2)
    assert "2 were there already" in physai(capsys, *common)[1]


def test_what_cannot_be_done_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, line in (
        (("policies", "list", "--registry", tmp_path / "none"), "physai: there is no policy in"),
        (("evaluate", "--registry", tmp_path / "none"), "physai: no policy is active in"),
        (("evaluate", "--backend", "moon"), "physai: unknown backend 'moon'"),
        (("evaluate", "--scenario-set", "moon"), "physai: scenario set 'moon' is not for evaluations"),
        (("evaluate", "--stop-early"), "physai: --stop-early is for comparisons"),
        (("evaluate", "--plan", "0.5"), "physai: success 0.7, gain 0.5"),
        (("policies", "gc", "--registry", tmp_path / "none"), "physai: there is no policy in"),
        (("report", tmp_path), "physai: no run.json in"),
        (("collect", "--task", "fly", "--out", tmp_path / "fly"), "physai: unknown task 'fly'"),
        (("collect", "--task", "reach", "--out", tmp_path / "a", "--physics", "mass"), "physai: --physics mass"),
    ):
        code, _, errors = physai(capsys, *arguments)
        assert code == 1
        assert errors.startswith(line)
        assert len(errors.splitlines()) == 1


def test_a_plan_tells_how_many_episodes_a_gain_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.json"
    code, said, _ = physai(capsys, "evaluate", "--plan", 0.3, "--success", 0.5, "--json", file)
    assert code == 0
    assert "from 50% to 80%" in said
    figures = json.loads(file.read_text())["figures"]
    assert 20 < figures["pairs_stop_early_mean"] < figures["pairs_fixed"] < 60


def test_the_bench_writes_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    code, said, _ = physai(capsys, "bench", "evaluation", "--runs", 100, "--json", file)
    assert code == 0
    assert "spending test" in said
    figures = json.loads(file.read_text())["figures"]
    assert figures["false_promotions_spending_test_exact"] <= 0.05
    assert 0.2 < figures["trials_saved_spending_test"] < 0.7
