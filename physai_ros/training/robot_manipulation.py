"""The shortest whole example: a policy for a manipulator from recorded demonstrations, by Adaptive Sparse Training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from physai_ros.experience.episode import Episode
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.training.adaptive import AdaptiveSparseTrainer
from physai_ros.training.dataset import TransitionBuilder
from physai_ros.training.robot_data import create_robot_dataloader


def train_robot_manipulation(
    episodes: Sequence[Episode], builder: TransitionBuilder, *, epochs: int = 20, seed: int = 0
) -> tuple[RobotPolicyNetwork, dict[str, Any]]:
    """A policy that imitates the demonstrations, and what training it took; every fifth episode validates.

    Raises:
        ValueError: there are fewer than two episodes, or none of either part can be imitated.
    """
    if len(episodes) < 2:
        raise ValueError(f"{len(episodes)} episodes given, expected at least two: one to train on, one to validate")
    validation = list(episodes[::5])
    training = [episode for index, episode in enumerate(episodes) if index % 5]
    train_loader = create_robot_dataloader(training, builder, batch_size=64)
    val_loader = create_robot_dataloader(validation, builder, batch_size=64, shuffle=False)

    rows = train_loader.dataset.transitions
    chunk_steps, action_size = rows.actions.shape[1:]
    model = RobotPolicyNetwork(Architecture(rows.observations.shape[1], action_size, chunk_steps), seed)
    model.set_normalization(rows.observations)
    trainer = AdaptiveSparseTrainer(
        model,
        train_loader,
        val_loader,
        modality="robot",
        device="cpu",
        config={
            "lr": 1e-3,
            "target_activation_rate": 0.1,
            "significance_config": {"w_learning": 0.2, "w_difficulty": 0.4, "w_physical": 0.2},
            "use_proxy_model": True,
            "seed": seed,
        },
    )
    return model, trainer.train(epochs)
