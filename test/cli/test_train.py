"""`physai train` as a process: its budget, its death at any moment, its curves, and many of it."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.evaluation.album import RolloutCameras
from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.training.checkpoint import load_checkpoint, replay_folder
from physai_ros.training.mapped_columns import ReplayFolder

torch.set_num_threads(1)  # as in the command: with another number of threads sums are others in their last bits
COMMAND = [sys.executable, "-m", "physai_ros.cli.main", "train"]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "episodes"
    task = load_task("reach")
    rollout = Rollout(RobotSpec.load("fr3_sim"), task)
    episodes = EpisodeStore(folder)
    for index, seed in enumerate(scenario_seeds("warm_start", 0, 4)):
        scenario, noise = scenario_of(task, seed), DemonstrationNoise(0.2)
        episodes.write(
            rollout.run(scenario, seed, Purpose.DEMONSTRATE, episode_id=f"demonstration-{index}", noise=noise)
        )
    return folder


def run(store: Path, out: Path, *options: str) -> Result:
    """One run of the command, in this process."""
    return CliRunner().invoke(app, ["train", "--data", str(store), "--out", str(out), *options])


def train(store: Path, out: Path, *options: str) -> dict[str, float]:
    """Figures of one run of the command, in this process."""
    figures = out.parent / f"{out.name}.json"
    result = run(store, out, "--json", str(figures), *options)
    assert result.exit_code == 0, result.output
    return json.loads(figures.read_text())["figures"]


def test_a_policy_that_sees_is_told_the_goal_and_resumed_with_the_same_eyes(tmp_path):
    task, folder = load_task("pick_place"), tmp_path / "episodes"
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, cameras=RolloutCameras(("scene",), 16, 16))
    seed = scenario_seeds("warm_start", 0, 1)[0]
    EpisodeStore(folder).write(
        rollout.run(scenario_of(task, seed), seed, Purpose.DEMONSTRATE, episode_id="demonstration-0")
    )
    rollout.close()
    options = ("--cameras", "scene", "--image-size", "16", "--blind-to", "task", "--steps", "2")
    train(folder, tmp_path / "out", *options)
    senses = PolicyRegistry(tmp_path / "out").manifest("000001").architecture.senses
    assert 0 < len(senses.told) < senses.task
    refused = run(folder, tmp_path / "out", *options, "--image-size", "24")
    assert refused.exit_code
    assert "other cameras, image_size or blind_to" in str(refused.exception)


def sha256(registry: Path) -> list[str]:
    versions = PolicyRegistry(registry)
    return [versions.manifest(version).sha256 for version in versions.versions()]


def test_what_went_through_lerobots_format_trains_to_the_same_weights(store, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow and av are an optional extra (requirements/exchange.txt)")
    pytest.importorskip("av", reason="pyarrow and av are an optional extra (requirements/exchange.txt)")
    there, back = str(tmp_path / "dataset"), str(tmp_path / "back")
    for arguments in (["export", "lerobot", "--data", str(store), "--out", there], ["import", "lerobot", there]):
        result = CliRunner().invoke(app, arguments + (["--out", back] if arguments[0] == "import" else []))
        assert result.exit_code == 0, result.output
    # The same weights are the same policy, and so the same success.
    for name, data in (("own", store), ("back", tmp_path / "back")):
        train(data, tmp_path / name, "--steps", "60", "--patience", "50")
    assert sha256(tmp_path / "own") == sha256(tmp_path / "back")


def test_a_task_of_ones_own_is_collected_trained_and_evaluated_by_one_name(tmp_path):
    mine = tmp_path / "my_reach.py"
    mine.write_text("from physai_ros.tasks.reach import Reach\n\n\nclass SlowReach(Reach):\n    name = 'slow_reach'\n")
    episodes, out = tmp_path / "episodes", tmp_path / "registry"
    collect = ["collect", "--task", str(mine), "--out", str(episodes), "--episodes", "2", "--workers", "0"]
    result = CliRunner().invoke(app, collect)
    assert result.exit_code == 0, result.output
    assert {summary.context.task for summary in EpisodeStore(episodes).summaries().values()} == {str(mine)}
    train(episodes, out, "--steps", "40", "--patience", "50")
    registry = PolicyRegistry(out)
    assert registry.manifest(registry.versions()[0]).task == str(mine)
    options = ["--policy", registry.versions()[0], "--registry", str(out), "--episodes", "2", "--workers", "0"]
    result = CliRunner().invoke(app, ["evaluate", "--task", str(mine), *options])
    assert result.exit_code == 0, result.output


def test_killed_at_random_moments_and_resumed_it_gives_the_same_weights(store, tmp_path):
    options = ("--steps", "160", "--save-seconds", "0", "--patience", "50", "--check-every", "20")
    train(store, tmp_path / "calm", *options)
    out = tmp_path / "killed"
    arguments = [*COMMAND, "--data", str(store), "--out", str(out), *options]
    moments, killed, checkpoint = random.Random(0), 0, out / "trainer.safetensors"
    for _ in range(2):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
                time.sleep(0.002)  # until it has saved for the first time, it would start from what was there
            time.sleep(moments.uniform(0.0, 0.2))  # the moment of the kill, not a wait for anything
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
    assert killed
    figures = train(store, out, *options)
    assert figures["steps"] == 160
    assert sha256(out) == sha256(tmp_path / "calm")


def test_a_budget_is_that_of_all_runs_together(store, tmp_path):
    out = tmp_path / "registry"
    options = ("--sampler", "uniform")
    assert train(store, out, "--samples", "2000", *options)["samples_backward"] == 2048
    assert train(store, out, "--samples", "4000", *options)["samples_backward"] == 4096
    assert train(store, out, "--steps", "20", *options)["steps"] == 20
    begun = train(store, out, "--budget-seconds", "0.4", *options)
    again = train(store, out, "--budget-seconds", "0.4", *options)
    assert begun["cpu_seconds"] >= 0.4
    assert again["steps"] == begun["steps"]  # what was used is used
    assert len(sha256(out)) == 4


def test_reinforcement_learning_goes_on_and_publishes_a_policy(store, tmp_path):
    out, options = tmp_path / "registry", ("--objective", "actor_critic")
    assert train(store, out, "--steps", "20", *options)["steps"] == 20
    figures = train(store, out, "--steps", "40", *options)
    assert figures["steps"] == 40
    assert figures["samples_forward"] > 2 * figures["samples_backward"]  # the critics look at what followed as well
    assert PolicyRegistry(out).load(newest(out)).manifest.architecture.action_size == 4
    refused = run(store, out, "--steps", "60")
    assert "objective actor_critic (given is bc)" in str(refused.exception)


def newest(registry: Path) -> str:
    """The newest version."""
    return PolicyRegistry(registry).versions()[-1]


def test_early_stop_says_what_it_judged_and_publishes_the_best(store, tmp_path):
    out = tmp_path / "registry"
    figures = train(store, out, "--steps", "5000", "--patience", "2", "--check-every", "10", "--sampler", "uniform")
    assert figures["steps"] < 5000
    assert figures["best_step"] == figures["steps"] - 20
    assert figures["held_out_samples"] > 0
    replay = ReplayFolder(replay_folder(out / "trainer.safetensors"))
    trainer = load_checkpoint(out / "trainer.safetensors", replay=replay)
    best = trainer.policy_network().state_dict()
    assert any((best[name] != value).any() for name, value in trainer.algorithm.average.state_dict().items())
    replay.close()


def test_ctrl_c_saves_and_the_run_goes_on(store, tmp_path):
    out = tmp_path / "registry"
    arguments = [*COMMAND, "--data", str(store), "--out", str(out), "--steps", "100000"]
    checkpoint = out / "trainer.safetensors"
    with subprocess.Popen(
        [*arguments, "--save-seconds", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not checkpoint.exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run it again to go on" in said
    assert sha256(out) == []
    assert train(store, out, "--steps", "3")["steps"] >= 3
    assert len(sha256(out)) == 1


def test_curves_are_event_files_that_name_every_step_once(store, tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    out, events = tmp_path / "registry", tmp_path / "events"
    for steps in ("40", "80"):
        train(store, out, "--steps", steps, "--tensorboard", str(events))
    curves: dict[str, list[int]] = {}
    for path in sorted(events.iterdir()):
        content = path.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + size])
            for value in event.summary.value:
                curves.setdefault(value.tag, []).append(event.step)
            content = content[16 + size :]
    assert curves["loss/actions"] == [20, 40, 60, 80]
    assert "samples/activation_rate" in curves


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--steps", "10", "--samples", "10"), "give one of"),
        (("--hindsight", "always"), "off, final, future"),
        (("--sampler", "best"), "there are ast"),
    ],
)
def test_a_mistake_is_named(store, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        raise run(store, tmp_path / "registry", *options).exception


def test_another_recipe_is_refused_with_what_differs(store, tmp_path):
    train(store, tmp_path / "registry", "--steps", "2")
    with pytest.raises(ValueError, match=r"seed 0 \(given is 1\)"):
        raise run(store, tmp_path / "registry", "--steps", "4", "--seed", "1").exception


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Every process imports torch: going on where the first run ended costs as much again.
@pytest.mark.parametrize("budgets", [(30,), pytest.param((20, 40), marks=pytest.mark.slow)])
def test_two_processes_of_torchrun_train_one_policy_and_go_on(store, tmp_path, budgets):
    out, figures = tmp_path / "registry", tmp_path / "figures.json"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    for steps in budgets:
        arguments = ["--data", str(store), "--out", str(out), "--steps", str(steps), "--json", str(figures)]
        done = subprocess.run(
            [*torchrun, "--master-port", str(free_port()), "-m", "physai_ros.cli.main", "train", *arguments],
            capture_output=True,
            text=True,
            timeout=240,
            env=os.environ | {"GLOO_SOCKET_IFNAME": "lo"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("version 00000") == 1  # one of them speaks
        assert json.loads(figures.read_text())["figures"]["steps"] == steps
    assert json.loads(figures.read_text())["figures"]["processes"] == 2
    assert len(sha256(out)) == len(budgets)
    alone = train(store, tmp_path / "alone", "--steps", str(budgets[-1]))
    together = json.loads(figures.read_text())["figures"]
    for name in ("samples_offered", "samples_forward", "samples_backward"):
        assert together[name] == pytest.approx(alone[name], rel=0.01), name
    assert together["loss"] == pytest.approx(alone["loss"], rel=0.02)
