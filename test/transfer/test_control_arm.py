"""A control arm ends with whoever asked for it, however that one ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task


def test_an_arm_ends_when_nobody_holds_its_input(tmp_path: Path) -> None:
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
        "episodes": 10_000,
        "candidate_every": 10_000,
        "warm_start_updates": 5,
    }
    command = [sys.executable, "-m", "physai_ros.transfer.control_arm"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        process.stdin.write(json.dumps(arm) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"done": 1}
        process.stdin.close()  # as the kernel does it where the other end has died
        assert process.wait(timeout=60.0) == 1
    finally:
        process.kill()
        process.wait()
