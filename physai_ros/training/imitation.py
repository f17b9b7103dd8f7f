"""Imitation: actions by a Huber loss, outcomes by a value head, and an average of the weights that acts."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from physai_ros.policy.network import Architecture, PolicyOutput, RobotPolicyNetwork
from physai_ros.training.algorithm import Algorithm, Lesson
from physai_ros.training.config import TrainerConfig
from physai_ros.training.distributed import Ranks
from physai_ros.training.observed import Sight
from physai_ros.training.pools import Batch

_MOST_WEIGHT = 20.0


class Imitation(Algorithm[Batch]):
    """Learns the actions that samples name; the mean over a batch is divided among the processes of `ranks`."""

    network: RobotPolicyNetwork

    def __init__(
        self, architecture: Architecture, config: TrainerConfig, generator: np.random.Generator, ranks: Ranks
    ) -> None:
        self.architecture = architecture
        self.network = RobotPolicyNetwork(architecture, config.seed)
        self.average = RobotPolicyNetwork(architecture, config.seed).requires_grad_(False).eval()
        # Listed once: a network looks through all its modules for them.
        self._learned, self._averaged = list(self.network.parameters()), list(self.average.parameters())
        # Fused: an update of 256 samples takes 5.2 ms in place of 6.2 on one core, to the same loss.
        self.optimizer = torch.optim.Adam(self._learned, lr=config.learning_rate, fused=True)
        self._config = config
        self._generator = generator
        self._ranks = ranks
        self._action_weights = torch.ones(architecture.action_size)
        self._action_weights[-1] = config.gripper_weight
        self._action_weights /= self._action_weights.mean()

    def set_normalization(self, observations: np.ndarray, images: np.ndarray | None = None) -> None:
        """Fix the statistics, in what learns and in what acts, on observations (n, size) and images (m, h, w, c)."""
        self.network.set_normalization(observations, images)
        for acting, learning in zip(self.average.buffers(), self.network.buffers(), strict=True):
            acting.copy_(learning)

    def update(self, batch: Batch, weights: np.ndarray, *, signals: bool = False) -> Lesson:
        """One step of the optimiser; noise is drawn for the whole batch, so that it does not depend on the ranks."""
        size, mine = batch.size, self._ranks.rows(batch.size)
        own = batch.rows(mine)
        output = self.network(*self._disturbed(batch.sight).rows(mine))
        per_member = self.imitation_loss(output, own)
        per_sample = (per_member * own.members).sum(dim=1) / own.members.sum(dim=1)
        weight = torch.from_numpy(weights[mine]) * own.weight * self._advantage_weight(own.returns, output.value_logits)
        loss = (per_sample * weight).sum() / size
        value_loss = self._value_loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        (loss if value_loss is None else loss + value_loss).backward()
        self._ranks.sum_gradients(self._learned)
        torch.nn.utils.clip_grad_norm_(self._learned, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            losses = self._ranks.gather(per_member.mean(dim=1), size).numpy()
            spread = features = None
            if signals:
                spread = output.actions[:, :, 0].std(dim=1, correction=0).mean(dim=1)
                spread = self._ranks.gather(spread, size).numpy()
                features = self._ranks.gather(output.features, size).numpy()
        return Lesson(
            loss=self._ranks.sum(loss.item()),
            value_loss=math.nan if value_loss is None else self._ranks.sum(value_loss.item()),
            sample_losses=losses,
            spread=spread,
            features=features,
            forward=size + (0 if batch.outcomes is None else len(batch.outcomes.success)),
        )

    def _disturbed(self, sight: Sight) -> Sight:
        """What is learned from in place of what was seen: with noise, and senses hidden now and then."""
        if self.network.encoder is not None:
            self.network.encoder.hide_by(int(self._generator.integers(2**62)))
        if not self._config.observation_noise:
            return sight
        noise = self._generator.standard_normal(sight.observations.shape, dtype=np.float32)
        noise *= self._config.observation_noise
        return sight._replace(
            observations=sight.observations + torch.from_numpy(noise) / self.network.observation_scale
        )

    def losses(self, batch: Batch) -> np.ndarray:
        """Imitation loss (b,) of every sample, with no sense hidden."""
        self.network.eval()
        with torch.no_grad():
            mine = self._ranks.rows(batch.size)
            own = batch.rows(mine)
            losses = self.imitation_loss(self.network(*own.sight), own).mean(dim=1)
        self.network.train()
        return self._ranks.gather(losses, batch.size).numpy()

    def acting_loss(self, sight: Sight, actions: torch.Tensor, known: torch.Tensor) -> float:
        """Mean Huber loss of the averaged weights on n samples, given as in a `Batch`."""
        with torch.no_grad():
            predicted = self.average(*sight).actions
            return float(self._huber(predicted, actions, known).mean())

    def _advantage_weight(self, returns: torch.Tensor, value_logits: torch.Tensor) -> torch.Tensor:
        """Weights (b,): exp(advantage / temperature), at most 20, and 1 for samples without a return.

        The advantage is what the episode brought minus what was to be expected, so that a step which led to more than
        that counts more, and a failure that was expected counts little. Sources: Wang et al., "Exponentially weighted
        imitation learning for batched historical data" (MARWIL), 2018; Peng et al., "Advantage-weighted regression",
        2019.
        """
        if not self._config.advantage:
            return torch.ones_like(returns)
        with torch.no_grad():
            advantage = returns - torch.sigmoid(value_logits)
            weight = torch.exp(advantage / self._config.advantage).clamp(max=_MOST_WEIGHT)
            return torch.where(returns.isnan(), torch.ones_like(weight), weight)

    def imitation_loss(self, output: PolicyOutput, batch: Batch) -> torch.Tensor:
        """Loss (b, members), a mean over the actions that are known: Huber's, or of a Gaussian the unlikelihood."""
        if output.distribution is None:
            return self._huber(output.actions, batch.actions, batch.known)
        wanted = batch.actions[:, None].expand_as(output.actions)
        per_step = -output.distribution.log_prob(wanted) / wanted.shape[-1]
        return (per_step * batch.known[:, None]).sum(dim=2) / batch.known.sum(1)[:, None]

    def _huber(self, predicted: torch.Tensor, actions: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        wanted = actions[:, None].expand_as(predicted)
        error = functional.huber_loss(predicted, wanted, reduction="none", delta=self._config.huber)
        per_step = (error * self._action_weights).mean(dim=3)
        return (per_step * known[:, None]).sum(dim=2) / known.sum(1)[:, None]

    def _value_loss(self, batch: Batch) -> torch.Tensor | None:
        """Loss of the value head on outcomes of any episode; its gradient stays in the head."""
        if batch.outcomes is None:
            return None
        size = len(batch.outcomes.success)
        mine = self._ranks.rows(size)
        with torch.no_grad():
            features = self.network(*batch.outcomes.sight.rows(mine)).features
        logits = self.network.value_head(features).squeeze(-1)
        success = batch.outcomes.success[mine]
        return functional.binary_cross_entropy_with_logits(logits, success, reduction="sum") / size

    def follow(self, updates: int) -> None:
        """Let the average follow; early on closely, or the first policies would be mostly their initialization."""
        decay = min(self._config.averaging, (1.0 + updates) / (10.0 + updates))
        with torch.no_grad():
            torch._foreach_lerp_(self._averaged, self._learned, 1.0 - decay)

    def refresh(self, keep: float, seed: int) -> None:
        """Mix what learns with a fresh network of this seed, of which it becomes the share 1 - `keep`.

        A network that goes on learning from data which come little by little ends up worse than one that is trained on
        all of them at once; mixed now and then with a fresh one it does not. What acts follows as it always does. A
        network with an encoder of its senses stays as it is: whether it gains has not been measured.
        Source: Ash and Adams, "On warm-starting neural network training" (shrink and perturb), 2020.
        """
        if self.network.encoder is not None:
            return
        fresh = RobotPolicyNetwork(self.architecture, seed)
        with torch.no_grad():
            torch._foreach_lerp_(self._learned, list(fresh.parameters()), 1.0 - keep)

    def weights(self) -> dict[str, np.ndarray]:
        """Weights and the optimiser's memory as named arrays, for `load_weights`."""
        arrays = {}
        for prefix, network in (("network", self.network), ("average", self.average)):
            arrays |= {f"{prefix}.{name}": value.numpy().copy() for name, value in network.state_dict().items()}
        return arrays | self._memory("optimizer", self.optimizer)

    def load_weights(self, arrays: dict[str, np.ndarray]) -> None:
        """Take over what `weights` gave; names of others are passed over."""
        for prefix, network in (("network.", self.network), ("average.", self.average)):
            own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in own.items()})
        self._remember("optimizer", self.optimizer, arrays)

    @staticmethod
    def _memory(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
        """An optimiser's memory as named arrays, for `_remember`."""
        return {
            f"{prefix}.{index}.{name}": value.numpy().copy()
            for index, moments in optimizer.state_dict()["state"].items()
            for name, value in moments.items()
        }

    @staticmethod
    def _remember(prefix: str, optimizer: torch.optim.Optimizer, arrays: dict[str, np.ndarray]) -> None:
        """Take over the memory that `_memory` gave."""
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in arrays.items():
            if name.startswith(f"{prefix}."):
                _, index, key = name.split(".", 2)
                moments.setdefault(int(index), {})[key] = torch.from_numpy(value.copy())
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
