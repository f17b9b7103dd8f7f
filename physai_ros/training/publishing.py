"""From a trainer to a version in the registry."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from physai_ros.policy.registry import PolicyManifest, PolicyRegistry, weights_of
from physai_ros.tasks.task import Task
from physai_ros.training.trainer import SparseTrainer


def publish_policy(
    trainer: SparseTrainer, task: Task, registry: PolicyRegistry, parents: tuple[str, ...] = ()
) -> PolicyManifest:
    """The version that holds the trainer's averaged policy: a new one, or the newest where that is the same already.

    A trainer that was killed between writing a version and noting so comes here again with the same weights.
    """
    network = trainer.policy_network()
    versions = registry.versions()
    if versions:
        newest = registry.manifest(versions[-1])
        if newest.sha256 == hashlib.sha256(weights_of(network)).hexdigest():
            return newest
    counters, ids = trainer.counters, trainer.episode_ids
    metrics = {
        "updates": counters.updates,
        "episodes": len(ids),
        "loss": trainer.loss,
        "samples_offered": counters.offered,
        "samples_forward": counters.forward,
        "samples_backward": counters.backward,
    }
    return registry.add(
        network,
        task=task.name,
        action_axes=task.action_axes,
        action_scale=task.action_scale,
        parents=parents,
        metrics=metrics,
        data={"episodes": len(ids), "ids_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest()},
        configuration=asdict(trainer.config),
    )
