"""The policy network: what is sensed in, a chunk of actions, a value and the spread of an ensemble out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from physai_ros.policy.attention import HistoryAttention
from physai_ros.policy.encoder import EncoderShape, MultiModalRobotEncoder
from physai_ros.policy.gaussian import TanhGaussian

HEADS = ("point", "gaussian")
"""What is predicted of an action: the action, or a `TanhGaussian`, whose mode acts."""


@dataclass(frozen=True)
class Architecture:
    """Shape of a `RobotPolicyNetwork`; written to the manifest, compared when weights are read.

    Attributes:
        observation_size: length of an observation vector.
        action_size: length of an action: the task's action axes, then the gripper.
        chunk_steps: policy steps predicted at once.
        hidden_sizes: widths of the trunk's layers.
        members: heads of the ensemble, whose spread is the uncertainty.
        senses: how an observation is divided among the senses, and the picture beside it; None: a perceptron reads the
            vector as a whole.
        head: one of `HEADS`.
        window: observations that the network looks back on, the present one included.
        use_sparse_attention: whether only the newest of these and a learned few of the others are attended to.
    """

    observation_size: int
    action_size: int
    chunk_steps: int = 1
    hidden_sizes: tuple[int, ...] = (256, 256)
    members: int = 3
    senses: EncoderShape | None = None
    head: str = "point"
    window: int = 1
    use_sparse_attention: bool = False

    def __post_init__(self) -> None:
        sizes = (self.observation_size, self.action_size, self.chunk_steps, self.members, self.window)
        if not self.hidden_sizes or any(not isinstance(n, int) or n < 1 for n in (*sizes, *self.hidden_sizes)):
            raise ValueError(f"not an architecture: {self}; every size is a whole number of at least 1")
        if self.head not in HEADS:
            raise ValueError(f"there is no head '{self.head}'; there are {', '.join(HEADS)}")
        if self.use_sparse_attention and self.window == 1:
            raise ValueError("use_sparse_attention is set and window is 1: there is nothing to attend to; set window")
        if self.senses is not None and self.senses.vector_size != self.observation_size:
            raise ValueError(
                f"the senses take {self.senses.vector_size} numbers of an observation of {self.observation_size}: "
                "divide all of it"
            )

    @property
    def is_plain(self) -> bool:
        """Whether it is a perceptron on one vector, with nothing of what can be chosen beside."""
        return self.senses is None and self.head == "point" and self.window == 1

    @property
    def needs_objects(self) -> bool:
        """Whether it looks at what the task says of where objects are."""
        return self.senses is None or "task" not in self.senses.blind_to

    @property
    def sees(self) -> bool:
        """Whether there is a picture beside the vector."""
        return self.senses is not None and self.senses.image is not None

    def to_dict(self) -> dict[str, Any]:
        """The sizes as JSON writes them; of what can be chosen beside, only what was."""
        data = asdict(self) | {"hidden_sizes": list(self.hidden_sizes)}
        plain = {"senses": None, "head": "point", "window": 1, "use_sparse_attention": False}
        return {name: value for name, value in data.items() if name not in plain or value != plain[name]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Architecture:
        """Read what `to_dict` gave.

        Raises:
            ValueError: a size is missing, unknown or out of range.
        """
        try:
            senses = data.get("senses")
            read = {"hidden_sizes": tuple(data["hidden_sizes"])}
            return cls(**(data | read | ({} if senses is None else {"senses": EncoderShape.from_dict(senses)})))
        except (TypeError, KeyError) as error:
            expected = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"not an architecture: {data}; expected {expected}") from error


class PolicyOutput(NamedTuple):
    """What a forward pass gives for a batch of n observations.

    `actions` (n, members, chunk_steps, action_size), not yet clipped; `value_logits` (n,) of success; `features`
    (n, hidden) of the trunk's last layer; `distribution` of the actions, where the head is a Gaussian.
    """

    actions: torch.Tensor
    value_logits: torch.Tensor
    features: torch.Tensor
    distribution: TanhGaussian | None = None


class Prediction(NamedTuple):
    """What a policy decides in one state.

    `actions` (chunk_steps, action_size) in -1 ... 1, the gripper last; `value` is the estimated chance of success;
    `uncertainty` is the standard deviation between the ensemble's members, averaged over the first action;
    `features` (hidden,) are those of the trunk's last layer, where they are known.
    """

    actions: np.ndarray
    value: float
    uncertainty: float
    features: np.ndarray | None = None


class RobotPolicyNetwork(nn.Module):
    """Trunk, an ensemble of action heads and a value head.

    The trunk is a LayerNorm perceptron on the observation's vector; or, by `Architecture.senses`, a
    `MultiModalRobotEncoder`; behind either attention may look back on earlier observations. Normalization statistics
    are buffers and travel with the weights. Acting is deterministic, there is no batch statistic, and a batch of one is
    a batch. The value head reads the features without sending a gradient back, so that judging cannot unlearn acting.
    """

    def __init__(self, architecture: Architecture, seed: int = 0) -> None:
        super().__init__()
        self.architecture = architecture
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder: MultiModalRobotEncoder | None = None
            self.attention: HistoryAttention | None = None
            layers: list[nn.Module] = []
            width = architecture.observation_size
            if architecture.senses is not None:
                self.encoder = MultiModalRobotEncoder(architecture.senses, seed)
                width = architecture.senses.features
            for hidden in architecture.hidden_sizes if self.encoder is None else ():
                layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.SiLU()]
                width = hidden
            self.trunk = nn.Sequential(*layers)
            if architecture.window > 1:
                self.attention = HistoryAttention(width, architecture.window, sparse=architecture.use_sparse_attention)
            outputs = architecture.members * architecture.chunk_steps * architecture.action_size
            self.action_heads = nn.Linear(width, outputs)
            self.value_head = nn.Linear(width, 1)
            self.spread_heads = nn.Linear(width, outputs) if architecture.head == "gaussian" else None
        self.observation_mean: torch.Tensor
        self.observation_scale: torch.Tensor
        self.register_buffer("observation_mean", torch.zeros(architecture.observation_size))
        self.register_buffer("observation_scale", torch.ones(architecture.observation_size))

    def set_normalization(self, observations: np.ndarray, images: np.ndarray | None = None) -> None:
        """Take mean and spread of observations (n, observation_size) and, by channel, of images (m, h, w, c).

        A constant component is left as it is. Where senses are apart, the marks of what is known are left as well.
        """
        mean = observations.mean(axis=0, dtype=np.float64)
        spread = observations.std(axis=0, dtype=np.float64)
        # A component that hardly moved in training must not blow up when it moves on the arm.
        scale = 1.0 / np.maximum(spread, 0.05)
        if self.encoder is not None:
            marks = self.encoder.shape.marks
            mean[marks], scale[marks] = 0.0, 1.0
        self.observation_mean.copy_(torch.from_numpy(mean))
        self.observation_scale.copy_(torch.from_numpy(scale))
        if images is not None and self.encoder is not None:
            self.encoder.set_normalization("vision", images)

    def forward(
        self, observations: torch.Tensor, images: torch.Tensor | None = None, seen: torch.Tensor | None = None
    ) -> PolicyOutput:
        """Output for observations as the `ObservationEncoder` gives them, and images where the network sees.

        Args:
            observations: (n, observation_size), or (n, window, observation_size) with the newest last and NaN for what
                was before an episode began.
            images: (n, height, width, channels) bytes, or numbers in 0 ... 1; None where there are none.
            seen: (n,) true where there is an image, or (n, cameras) where each camera gave one; None: for all.
        """
        present = observations[:, -1] if observations.dim() == 3 else observations
        features = self._features(present, images, seen)
        if self.attention is not None and observations.dim() == 3:
            past = observations[:, :-1]
            known = torch.isfinite(past).all(dim=-1)
            before = self._features(torch.nan_to_num(past).flatten(0, 1)).view(*known.shape, -1)
            features = self.attention(features, before, known)
        shape = self.architecture
        actions = self.action_heads(features).view(-1, shape.members, shape.chunk_steps, shape.action_size)
        distribution = None
        if self.spread_heads is not None:
            distribution = TanhGaussian.of(actions, self.spread_heads(features).view_as(actions))
            actions = distribution.mode
        return PolicyOutput(actions, self.value_head(features.detach()).squeeze(-1), features, distribution)

    def _features(
        self, observations: torch.Tensor, images: torch.Tensor | None = None, seen: torch.Tensor | None = None
    ) -> torch.Tensor:
        normalized = ((observations - self.observation_mean) * self.observation_scale).clamp(-5.0, 5.0)
        if self.encoder is None:
            return self.trunk(normalized)
        return self.encoder(self.encoder.shape.divided(normalized, images, seen))
