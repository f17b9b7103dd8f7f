"""The commands round evaluation: figures in their file, one clear line where something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def physai(*arguments: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "physai_ros.cli.main", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_demonstrations_are_collected_once_and_an_untrained_registry_is_refused(tmp_path: Path) -> None:
    common = ("collect", "--task", "reach", "--episodes", 2, "--out", tmp_path / "episodes", "--workers", 0)
    first = physai(*common, "--json", tmp_path / "collect.json")
    assert first.returncode == 0, first.stderr
    result = json.loads((tmp_path / "collect.json").read_text())
    assert (result["command"], result["figures"]["episodes"], len(result["rows"])) == ("collect", 2, 2)
    again = physai(*common)
    assert "2 were there already" in again.stdout
    for arguments, line in (
        (("policies", "--help"), ""),
        (("policies", "list", "--registry", tmp_path / "none"), "physai: there is no policy in"),
        (("evaluate", "--registry", tmp_path / "none"), "physai: no policy is active in"),
        (("evaluate", "--backend", "robot"), "physai: backend 'robot' cannot be used"),
        (("report", tmp_path), "physai: no run.json in"),
        (("collect", "--task", "fly", "--out", tmp_path / "fly"), "physai: unknown task 'fly'"),
    ):
        ran = physai(*arguments)
        assert (ran.returncode == 0) == (not line)
        assert ran.stderr.startswith(line)
        assert len(ran.stderr.splitlines()) == bool(line)
