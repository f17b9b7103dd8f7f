"""Reinforcement learning from demonstrations on: critics judge what was executed, the actor heeds and imitates."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from physai_ros.policy.exploration import TREMOR
from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.runtime import GRIPPER_DEADBAND
from physai_ros.training.algorithm import Lesson
from physai_ros.training.caution import Caution
from physai_ros.training.config import TrainerConfig
from physai_ros.training.critic import CriticEnsemble, pessimistic
from physai_ros.training.distributed import Ranks
from physai_ros.training.imitation import Imitation
from physai_ros.training.observed import Sight
from physai_ros.training.pools import Batch
from physai_ros.training.transitions import Steps

UNBOUNDED = 2.0
"""The furthest that two actions in -1 ... 1 can lie apart."""
_DEPARTURE = 20.0  # weight of what is beyond the bound: far more than values, of at most 1, can make good
_GRIPPER_SHARE = 0.2  # of the bound: less than the runtime takes for another command


class ActorCritic(Imitation):
    """Imitation whose network also climbs what an ensemble of critics expects of its actions.

    Half of a batch are demonstrations and corrections, half are the policy's own steps (symmetric sampling: Ball et
    al., RLPD, 2023). The critics learn, from both, how likely success is after what was executed. The actor's loss is

        loyalty * imitation of demonstrations and corrections - greed * value of what it would do + departure

    (Fujimoto and Gu, "A minimalist approach to offline reinforcement learning" (TD3+BC), 2021, with the value in place
    of its normalized form, for values here lie in 0 ... 1). Loyalty fades while the critics are heeded. Where success
    is out of reach the value is flat and imitation alone is left: a buffer of failures does the actor no harm. The
    actor heeds the critics once they have seen some of its own steps, for demonstrations alone do not tell a good
    action from a bad one, and no longer when it fails more often than imitation did (`Caution`). The critics read the
    observation's vector, also where the actor sees pictures.

    `departure` keeps it within `residual_bound` of the policy that it was when it began to heed them, wherever it is
    asked: critics know little of most actions, and an actor that may go where they are wrong comes to fail before the
    point where it failed at first. What imitation does well enough stays as it is, and success is decided by
    millimetres that the bound leaves free. Sources: Silver et al., "Residual policy learning", 2018; Yuan et al.,
    "Policy decorator: Model-agnostic online refinement for large policy model", 2024 (bounded residual actions).
    """

    def __init__(
        self, architecture: Architecture, config: TrainerConfig, generator: np.random.Generator, ranks: Ranks
    ) -> None:
        """Take the parts of `Imitation`.

        Raises:
            ValueError: there are several processes, or the network predicts a distribution.
        """
        if ranks.count > 1:
            raise ValueError(f"objective actor_critic trains in one process, given were {ranks.count}; start one")
        if architecture.head != "point":
            raise ValueError(f"objective actor_critic trains the head 'point', given was '{architecture.head}'")
        super().__init__(architecture, config, generator, ranks)
        recipe = self._recipe = config.rl
        self.critics = CriticEnsemble(
            architecture.observation_size,
            architecture.action_size,
            recipe.critic_sizes,
            recipe.critics,
            config.seed,
            fine=recipe.fine,
        )
        self.asked = copy.deepcopy(self.critics).requires_grad_(False)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=recipe.critic_learning_rate, fused=True)
        self._imitator: RobotPolicyNetwork | None = None  # what acted when the critics were heeded first
        self._updates = self._experienced = self._heeded = 0
        self.caution = Caution()

    @property
    def heeds_critics(self) -> bool:
        """Whether the critics have seen enough of the policy's own steps, and following them has not done harm."""
        return self._experienced > self._recipe.head_start and not self.caution.retreated

    @property
    def loyalty(self) -> float:
        """Weight of imitation in the actor's loss."""
        recipe = self._recipe
        fading = math.exp(-self._heeded / recipe.loyalty_updates)
        return recipe.loyalty_end + (recipe.loyalty - recipe.loyalty_end) * fading

    def update(self, batch: Batch, weights: np.ndarray, *, signals: bool = False) -> Lesson:
        """One step of the critics, and of the actor in every update before it heeds them, later in one of a few."""
        steps = _steps(batch)
        weight = torch.from_numpy(weights)
        loss, errors, spread = self._teach_critics(batch.sight, steps, weight)
        self._updates += 1
        self._experienced += bool(steps.own.any())
        self._heeded = self._heeded + 1 if self.heeds_critics else 0
        value_loss, forward = math.nan, 2 * batch.size
        if not self.heeds_critics or self._updates % self._recipe.actor_every == 0:
            value_loss = self._teach_actor(batch, steps, weight)
            forward += batch.size + (0 if batch.outcomes is None else len(batch.outcomes.success))
        features = None
        if signals:
            with torch.no_grad():
                features = self.network(*batch.sight).features.numpy()
        return Lesson(loss, value_loss, errors, spread if signals else None, features, forward)

    def hear(self, success: bool) -> None:
        """Take in how an episode ended that the policy went through alone."""
        self.caution.hear(success, followed=self._experienced > self._recipe.head_start)

    def losses(self, batch: Batch) -> np.ndarray:
        """Error (b,) of the critics in every sample, against what they themselves say of what followed."""
        steps = _steps(batch)
        with torch.no_grad():
            target = self._target(steps, explore=False)
            values = torch.sigmoid(self.critics(self._seen(batch.sight), steps.executed))
            return ((values - target).abs().mean(dim=0) * steps.usable).numpy()

    def value(self, sight: Sight, actions: torch.Tensor) -> torch.Tensor:
        """Value (n,) in 0 ... 1 of actions (n, action_size), the mean of what the averaged critics say."""
        return torch.sigmoid(self.asked(self._seen(sight), actions)).mean(dim=0)

    def _seen(self, sight: Sight) -> torch.Tensor:
        """The present observations (n, size) as a critic reads them."""
        observations = sight.observations
        if observations.dim() == 3:
            observations = observations[:, -1]
        return ((observations - self.network.observation_mean) * self.network.observation_scale).clamp(-5.0, 5.0)

    def _target(self, steps: Steps, *, explore: bool) -> torch.Tensor:
        """What a step (b,) is worth: its reward, and of what follows what the most doubtful of a few critics expect."""
        recipe = self._recipe
        actions = self.average(*steps.following).actions[:, :, 0].mean(dim=1)
        chosen = np.arange(recipe.critics)
        if explore:
            noise = self._generator.standard_normal(tuple(actions.shape), dtype=np.float32)
            share = TREMOR + actions[:, :-1].abs().amax(dim=1, keepdim=True) if recipe.delicate else 1.0
            actions = actions + recipe.exploration * share * torch.from_numpy(noise)
            chosen = self._generator.permutation(recipe.critics)[: recipe.asked]
        actions = _as_played(actions)
        values = torch.sigmoid(self.asked(self._seen(steps.following), actions))
        following = pessimistic(values, torch.from_numpy(chosen))
        return (steps.reward + steps.bootstrap * following).clamp(0.0, 1.0)

    def _teach_critics(self, sight: Sight, steps: Steps, weight: torch.Tensor) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss, error (b,) and spread (b,) of the ensemble, before the step that it takes."""
        with torch.no_grad():
            target = self._target(steps, explore=True)
        logits = self.critics(self._seen(sight), steps.executed)
        entropy = functional.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
        believed = torch.where(steps.own > 0.0, 1.0, self.loyalty)
        loss = (entropy * (weight * steps.usable * believed)).mean(dim=1)
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        self.critic_optimizer.step()
        with torch.no_grad():
            values = torch.sigmoid(logits)
            errors = (values - target).abs().mean(dim=0) * steps.usable
            return loss.mean().item(), errors.numpy(), values.std(dim=0, correction=0).numpy()

    def _teach_actor(self, batch: Batch, steps: Steps, weight: torch.Tensor) -> float:
        """One step of the policy network; returns the loss of its value head, NaN without outcomes."""
        output = self.network(*self._disturbed(batch.sight))
        per_member = self.imitation_loss(output, batch)
        per_sample = (per_member * batch.members).sum(dim=1) / batch.members.sum(dim=1)
        imitated = (
            weight * batch.weight * torch.where(steps.own > 0.0, self._recipe.pride * steps.success, self.loyalty)
        )
        loss = (per_sample * imitated).mean() / (1.0 - self._recipe.own_share * steps.own.any())
        if self.heeds_critics:
            actions = output.actions[:, :, 0]
            beyond = (actions.abs() - 1.0).clamp(min=0.0).square().mean()
            mean = actions.mean(dim=1)
            loss = loss - self._recipe.greed * self._appreciated(batch.sight, mean) + beyond
            if self._recipe.residual_bound < UNBOUNDED:
                loss = loss + self._departure(batch.sight, mean)
        value_loss = self._value_loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        (loss if value_loss is None else loss + value_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return math.nan if value_loss is None else value_loss.item()

    def _appreciated(self, sight: Sight, actions: torch.Tensor) -> torch.Tensor:
        """What the critics at least expect of actions (b, action_size), a mean over the batch.

        Those beyond -1 ... 1 have a gradient as if they were on it. Doubt counts against an action, as in Bai et al.,
        "Pessimistic bootstrapping for uncertainty-driven offline reinforcement learning" (PBRL), 2022.
        """
        clipped = actions + (actions.clamp(-1.0, 1.0) - actions).detach()
        if self._recipe.residual_bound < UNBOUNDED:
            clipped = torch.cat([clipped[:, :-1], clipped[:, -1:].detach()], dim=1)
        values = torch.sigmoid(self.asked(self._seen(sight), clipped))
        return (values.mean(dim=0) - self._recipe.pessimism * values.std(dim=0)).mean()

    def _departure(self, sight: Sight, actions: torch.Tensor) -> torch.Tensor:
        """What it costs that actions (b, action_size) are further from what imitation taught than they may be."""
        if self._imitator is None:
            self._imitator = copy.deepcopy(self.average)
        with torch.no_grad():
            taught = self._imitator(*sight).actions[:, :, 0].mean(dim=1)
        bounds = torch.full_like(actions, self._recipe.residual_bound)
        bounds[:, -1] *= _GRIPPER_SHARE
        over = ((actions - taught).abs() - bounds).clamp(min=0.0)
        return _DEPARTURE * (over.square() + 0.2 * over).sum(dim=1).mean()

    def follow(self, updates: int) -> None:
        """Let what acts and what is asked follow what learns."""
        super().follow(updates)
        share = 1.0 - self._recipe.critic_averaging
        with torch.no_grad():
            torch._foreach_lerp_(list(self.asked.parameters()), list(self.critics.parameters()), share)

    def refresh(self, keep: float, seed: int) -> None:
        """Leave the actor as it is: whether one that heeds critics gains by this has not been measured."""

    def snapshot(self) -> tuple[Any, ...]:
        """Copies of what `update` changes, for `restore`."""
        critics = (self.critics.state_dict(), self.critic_optimizer.state_dict())
        counts = (self._updates, self._experienced, self._heeded, self._imitator)
        return (*super().snapshot(), *copy.deepcopy(critics), *counts)

    def restore(self, snapshot: tuple[Any, ...]) -> None:
        """Undo every update since the snapshot."""
        super().restore(snapshot[:2])
        self.critics.load_state_dict(snapshot[2])
        self.critic_optimizer.load_state_dict(copy.deepcopy(snapshot[3]))
        self._updates, self._experienced, self._heeded, self._imitator = snapshot[4:]

    def weights(self) -> dict[str, np.ndarray]:
        """Weights, the optimisers' memory and the counts as named arrays, for `load_weights`."""
        arrays = super().weights()
        for prefix, critics in (("critics", self.critics), ("asked", self.asked)):
            arrays |= {f"{prefix}.{name}": value.numpy().copy() for name, value in critics.state_dict().items()}
        if self._imitator is not None:
            arrays |= {f"imitator.{name}": value.numpy().copy() for name, value in self._imitator.state_dict().items()}
        arrays |= self._memory("critic_optimizer", self.critic_optimizer)
        counts = np.array([self._updates, self._experienced, self._heeded])
        return arrays | {"actor_critic": counts, "caution": self.caution.state()}

    def load_weights(self, arrays: dict[str, np.ndarray]) -> None:
        """Take over what `weights` gave; names of others are passed over."""
        super().load_weights(arrays)
        for prefix, critics in (("critics.", self.critics), ("asked.", self.asked)):
            own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            critics.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in own.items()})
        taught = {
            name.removeprefix("imitator."): array for name, array in arrays.items() if name.startswith("imitator.")
        }
        self._imitator = copy.deepcopy(self.average) if taught else None
        if self._imitator is not None:
            self._imitator.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in taught.items()})
        self._remember("critic_optimizer", self.critic_optimizer, arrays)
        self._updates, self._experienced, self._heeded = map(int, arrays["actor_critic"])
        self.caution.restore(arrays["caution"])


def _steps(batch: Batch) -> Steps:
    assert batch.steps is not None, "a batch for the objective actor_critic has its steps"
    return batch.steps


def _as_played(actions: torch.Tensor) -> torch.Tensor:
    """Actions (n, action_size) as the runtime plays them: within -1 ... 1, the gripper open or closed."""
    actions = actions.clamp(-1.0, 1.0)
    gripper = actions[:, -1]
    actions[:, -1] = torch.where(gripper.abs() > GRIPPER_DEADBAND, gripper.sign(), gripper)
    return actions
