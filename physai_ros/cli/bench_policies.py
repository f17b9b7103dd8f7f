"""Policies for measurements: small ones that move the arm, made in seconds, and what one of them was shown."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from physai_ros.cli.camera_replay import write_frames
from physai_ros.evaluation.album import RolloutCameras
from physai_ros.evaluation.rollout import Rollout
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.encoder import EncoderShape
from physai_ros.policy.network import Architecture
from physai_ros.policy.registry import Policy, PolicyRegistry
from physai_ros.robot.share import share_path
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Task
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.publishing import publish_policy
from physai_ros.training.trainer import SparseTrainer
from physai_ros.transfer.first_policy import demonstrate

CAMERAS = ("scene", "wrist")
SIZE = 84
_DEMONSTRATIONS, _UPDATES, _BATCH = 3, 80, 16


def robot_at(rate: float, folder: Path) -> str:
    """Path of the simulated arm's configuration with another control rate [Hz]; its name where that is its own."""
    if RobotSpec.load("fr3_sim").control_rate == rate:
        return "fr3_sim"
    config = yaml.safe_load(share_path("config", "robots", "fr3_sim.yaml").read_text(encoding="utf-8"))
    path = folder / "fr3_sim.yaml"
    path.write_text(yaml.safe_dump(config | {"control_rate": rate}))
    return str(path)


def seeing_architecture(task: Task, observation_size: int, *, blind_to: tuple[str, ...] = ()) -> Architecture:
    """A policy that sees two cameras of 84 x 84 beside the vector."""
    features = (observation_size - EncoderShape.of_observation(0, len(task.action_axes)).vector_size) // 2
    image = (SIZE, SIZE, 3 * len(CAMERAS))
    senses = EncoderShape.of_observation(features, len(task.action_axes), image, cameras=CAMERAS, blind_to=blind_to)
    return Architecture(observation_size, len(task.action_axes) + 1, senses=senses)


def prepare_seeing(rollout: Rollout, folder: Path, seed: int = 0) -> None:
    """Make a run's folder ready with a policy that sees, and `frames.npz`, what it was shown.

    It imitates a few demonstrations, which are drawn by two cameras; how well it does the task does not matter here.
    """
    task = rollout.task
    filmed = Rollout(rollout.spec, task, cameras=RolloutCameras(CAMERAS, SIZE, SIZE))
    store = EpisodeStore(folder / "episodes")
    episodes = list(demonstrate(filmed, _DEMONSTRATIONS, seed, None))
    for episode in episodes:
        store.write(episode)  # what a trainer beside it has to learn from
    plain = TransitionBuilder(filmed.arm.kinematics, task)
    architecture = seeing_architecture(task, plain.build(episodes[0]).observations.shape[1])
    builder = TransitionBuilder(filmed.arm.kinematics, task, senses=architecture.senses)
    config = TrainerConfig(
        sampler="uniform", batch_size=_BATCH, outcome_batch=4, warm_start_updates=_UPDATES, seed=seed
    )
    trainer = SparseTrainer(architecture.observation_size, architecture.action_size, config, architecture=architecture)
    for episode in episodes:
        trainer.add(builder.build(episode), episode.context.episode_id)
    for index in range(_UPDATES):
        trainer.update(trainer.warm_start_rate(index, _UPDATES))
    registry = PolicyRegistry(folder / "registry")
    registry.activate(publish_policy(trainer, task, registry).version, reason="sees, for a measurement")
    write_frames(folder / "frames.npz", {name: _frames(episodes, name) for name in CAMERAS})
    filmed.close()


def _frames(episodes: list[Episode], camera: str) -> np.ndarray:
    """All pictures (n, height, width, 3) of a camera."""
    albums = [episode.pictures[camera] for episode in episodes]
    return np.stack([album.rgb(index) for album in albums for index in range(len(album))])


def bare_forward(policy: Policy, count: int = 300) -> dict[str, float]:
    """Median and 99th percentile [ms] of one decision alone, in this process, with nothing beside."""
    architecture = policy.manifest.architecture
    observation = np.zeros(architecture.observation_size, dtype=np.float32)
    image = (np.zeros(architecture.senses.image, dtype=np.uint8),) if architecture.sees else ()
    times: list[float] = []
    for _ in range(count + 10):
        began = time.perf_counter()
        policy.predict(observation, *image)
        times.append(time.perf_counter() - began)
    return {
        "bare_forward_ms": 1e3 * float(np.median(times[10:])),
        "bare_forward_p99_ms": 1e3 * float(np.percentile(times[10:], 99)),
    }


def film(task_name: str, frames: int, size: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    """Pictures (frames, height, width, 3) uint8 by camera of an arm that does a task, a policy step apart."""
    task = load_task(task_name)
    rollout = Rollout(RobotSpec.load("fr3_sim"), task, cameras=RolloutCameras(CAMERAS, *size))
    episode = rollout.run(task.sample_scenario(np.random.default_rng(seed)), seed, Purpose.DEMONSTRATE)
    rollout.close()
    counts = {name: min(frames, len(episode.pictures[name])) for name in CAMERAS}
    return {name: np.stack([episode.pictures[name].rgb(i) for i in range(counts[name])]) for name in CAMERAS}


def temporary_folder() -> Any:  # noqa: ANN401 a context manager
    """A folder that goes with the block."""
    return tempfile.TemporaryDirectory(prefix="physai-")
