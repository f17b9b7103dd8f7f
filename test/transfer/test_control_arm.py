"""A control arm ends with whoever asked for it, however that one ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task

PARENT = """
import json, sys, time
from physai_ros.transfer.control_arm import ControlArm, start
process = start(ControlArm(**json.loads(sys.argv[1])))
print(process.pid, flush=True)
time.sleep(600)
"""


def test_an_arm_whose_parent_was_killed_ends(tmp_path: Path) -> None:
    task = load_task("reach")
    rollout = Rollout(RobotSpec.load("fr3_sim"), task)
    (seed,) = scenario_seeds("warm_start", 0, 1)
    demonstration = rollout.run(scenario_of(task, seed), seed, Purpose.DEMONSTRATE, episode_id="demonstration")
    EpisodeStore(tmp_path / "episodes").write(demonstration)
    rollout.close()
    arm = {
        "demonstrations": str(tmp_path / "episodes"),
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
    finally:
        parent.kill()
        parent.communicate()
    deadline = time.monotonic() + 200.0  # it has the lowest priority, and imports first
    while arm_process.is_running() and arm_process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the arm works on for nobody"
        time.sleep(0.05)
