"""A control arm ends with whoever asked for it, however that one ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

PARENT = """
import json, sys, time
from physai_ros.transfer.control_arm import ControlArm, start
process = start(ControlArm(**json.loads(sys.argv[1])))
print(process.pid, flush=True)
print(process.stdout.readline(), end="", flush=True)
time.sleep(600)
"""


def test_an_arm_whose_parent_was_killed_ends(taught_run: Path, tmp_path: Path) -> None:
    arm = {
        "demonstrations": str(taught_run / "episodes"),
        "registry": str(tmp_path / "registry"),
        "task": "reach",
        "robot": "fr3_sim",
        "seed": 0,
        "sampler": "uniform",
        "curriculum": "uniform",
        "episodes": 10_000,
        "candidate_every": 10_000,
        "warm_start_updates": 5,
        "operator": True,
        "physics": {},
    }
    parent = subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(arm)], stdout=subprocess.PIPE, text=True)
    try:
        arm_process = psutil.Process(int(parent.stdout.readline()))
        assert json.loads(parent.stdout.readline()) == {"done": 1}
        assert arm_process.is_running()
    finally:
        parent.kill()
        parent.communicate()
    deadline = time.monotonic() + 20.0
    while arm_process.is_running() and arm_process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the arm works on for nobody"
        time.sleep(0.05)
