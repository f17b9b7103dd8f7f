"""Every command answers --help quickly, and a mistake is one clear line with what to do."""

import os
import subprocess
import sys

import pytest

COMMANDS = (
    "demo",
    "up",
    "collect",
    "train",
    "evaluate",
    "faults",
    "report",
    "bench latency",
    "data list",
    "policies list",
    "policies calibrate",
    "bench alarm",
)


def physai(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "physai_ros.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"COLUMNS": "200"},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    done = physai(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--objective", "rl"], "use --objective bc"),
        (["demo", "--interventions", "maybe"], "expected on or off"),
        (["demo", "--sampler", "best"], "there are ast"),
        (["demo", "--task", "juggle"], "reach"),
        (["faults", "--only", "meteor"], "policy_killed"),
        (["up", "mars"], "sim"),
    ],
)
def test_a_mistake_is_one_line(arguments, said):
    done = physai(*arguments)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert said in lines[0]


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    (tmp_path / "registry").mkdir()
    done = physai("demo", "--run", str(tmp_path))
    assert done.returncode == 1
    assert "give another --run" in done.stderr


def test_training_from_an_empty_folder_says_how_to_fill_it(tmp_path):
    done = physai("train", "--data", str(tmp_path), "--out", str(tmp_path / "registry"))
    assert done.returncode == 1
    assert "physai collect" in done.stderr or "physai_ros" in done.stderr
