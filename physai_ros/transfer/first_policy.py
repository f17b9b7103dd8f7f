"""The policy that a run starts from: a few noisy demonstrations in the nominal simulator, imitated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from physai_ros.evaluation.driving import DemonstrationNoise
from physai_ros.evaluation.rollout import Rollout
from physai_ros.evaluation.scenario_sets import scenario_of, scenario_seeds
from physai_ros.experience.episode import Episode, Purpose
from physai_ros.experience.store import EpisodeStore
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.tasks.task import Task
from physai_ros.training.checkpoint import save_checkpoint
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.publishing import publish_policy
from physai_ros.training.trainer import SparseTrainer

Progress = Callable[[int, int], None]
"""Told how many of how many are done."""

NOISE = DemonstrationNoise(spread=0.3, persistence=0.5)
"""Of demonstrations that a policy is to learn its way back from."""

_MOST_ATTEMPTS = 3


def demonstrate(rollout: Rollout, count: int, seed: int, noise: DemonstrationNoise | None) -> Iterator[Episode]:
    """Successful demonstrations of the task's expert, `count` of them, from the warm-start scenarios of `seed`.

    Raises:
        RuntimeError: the expert fails more often than it succeeds; the task or its noise needs a look.
    """
    kept = 0
    for index, scenario_seed in enumerate(scenario_seeds("warm_start", seed, _MOST_ATTEMPTS * count)):
        scenario = scenario_of(rollout.task, scenario_seed)
        episode_id = f"demonstration-{seed:04d}-{index:05d}"
        episode = rollout.run(scenario, scenario_seed, Purpose.DEMONSTRATE, episode_id=episode_id, noise=noise)
        if episode.outcome.success:
            kept += 1
            yield episode
        if kept == count:
            return
    raise RuntimeError(
        f"the expert of '{rollout.task.name}' succeeded only {kept} times in {_MOST_ATTEMPTS * count}; expected "
        f"{count}: look at the task's expert, or give it less noise"
    )


def warm_start(
    episodes: list[Episode], task: Task, builder: TransitionBuilder, config: TrainerConfig, on_progress: Progress
) -> SparseTrainer:
    """A trainer that has imitated these demonstrations.

    Raises:
        ValueError: there is no demonstration.
    """
    if not episodes:
        raise ValueError(f"no demonstration of '{task.name}' to start from; run physai collect --task {task.name}")
    transitions = [builder.build(episode) for episode in episodes]
    trainer = SparseTrainer(transitions[0].observations.shape[1], transitions[0].actions.shape[2], config)
    for episode, rows in zip(episodes, transitions, strict=True):
        trainer.add(rows, episode.context.episode_id)
    total = config.warm_start_updates
    for index in range(total):
        trainer.update(trainer.warm_start_rate(index, total))
        if index % 20 == 19 or index == total - 1:
            on_progress(index + 1, total)
    return trainer


def first_policy(
    rollout: Rollout,
    folder: Path,
    config: TrainerConfig,
    *,
    demonstrations: int,
    seed: int,
    noise: DemonstrationNoise | None,
    on_demonstration: Progress,
    on_update: Progress,
) -> str:
    """Make `folder` ready for a graph to learn in; returns the version that is active.

    Afterwards it holds the demonstrations (`episodes/`), the registry with its first version (`registry/`) and the
    trainer's state (`trainer.safetensors`).
    """
    store = EpisodeStore(folder / "episodes")
    episodes = []
    for episode in demonstrate(rollout, demonstrations, seed, noise):
        store.write(episode)
        episodes.append(episode)
        on_demonstration(len(episodes), demonstrations)
    builder = TransitionBuilder(rollout.arm.kinematics, rollout.task, chunk_steps=config.chunk_steps)
    trainer = warm_start(episodes, rollout.task, builder, config, on_update)
    registry = PolicyRegistry(folder / "registry")
    manifest = publish_policy(trainer, rollout.task, registry)
    registry.activate(manifest.version, reason=f"imitates {demonstrations} demonstrations")
    save_checkpoint(trainer, folder / "trainer.safetensors")
    return manifest.version
