"""The recipe: every number that training depends on, in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from physai_ros.training.actor_critic_config import ActorCriticConfig
from physai_ros.training.gate import GateConfig
from physai_ros.training.samplers import SAMPLERS
from physai_ros.training.significance import SignificanceConfig

OBJECTIVES = ("bc", "rl", "actor_critic")
"""What is learned: to imitate demonstrations and corrections; beside them one's own successes, the quickest; or what
critics think of actions."""

_OF_OBJECTIVE: dict[str, dict[str, Any]] = {"rl": {"observation_noise": 0.3}}  # else the defaults

HINDSIGHT = ("off", "final", "future")
"""Goals to relabel a failed episode with: none, where it ended, or also what it achieved on the way."""


@dataclass(frozen=True)
class TrainerConfig:
    """Recipe of learning with Adaptive Sparse Training; the defaults are those of the demonstration.

    Attributes:
        objective: one of `OBJECTIVES`.
        sampler: one of `SAMPLERS`.
        batch_size: samples a gradient update aims at.
        demonstration_share: of each batch, once there are corrections; the rest are the operator's corrections.
        warm_start_updates: updates on demonstrations alone, before the first policy.
        updates_per_episode: updates after each new episode.
        updates_per_practice: updates for each demonstration of a round of practice (`transfer.own_practice`).
        learning_rate: in the warm start; falls to `fine_learning_rate` along a cosine.
        fine_learning_rate: after the warm start.
        refresh_every: updates, after the warm start, from one mixing of the weights with fresh ones to the next, where
            episodes came meanwhile: so that what comes late is learned as well as what came first
            (`Imitation.refresh`); 0 never does.
        refresh_keep: share of the weights that a refresh keeps.
        averaging: decay a step of the exponential average of the weights, which is what acts.
        huber: where the loss turns from quadratic to linear, in action units.
        gripper_weight: weight of the gripper's component in the loss.
        hidden_sizes, members, chunk_steps: of the network.
        member_share: share of the samples that each member of the ensemble learns from.
        outcome_batch: samples a step that the value head learns the outcome from.
        observation_noise: added to normalized observations in training, in standard deviations of each component.
        control_every: updates between two trials of the gate against uniform sampling; 0 never tries.
        held_out_share: of the samples, for those trials; nothing trains on them.
        hindsight: which goals failed episodes are relabelled with, one of `HINDSIGHT`.
        advantage: temperature of the weights that the policy's own steps learn with, exp(advantage / temperature);
            0 leaves them out.
        quickest: of objective `rl`, share of its own successes, the quickest by then, whose steps are imitated like
            demonstrations.
        hindsight_parts, own_parts: of a batch, relabelled and own steps, where demonstrations and corrections are one.
        weighting: whether steps are weighed and thinned out by `weighting.step_weights`.
        patience: checks on held-out episodes without a better loss after which training stops; 0 never stops.
        check_every: updates between two such checks.
        validation_share: of the imitable episodes, for those checks; nothing trains on them.
        seed: of weights and sampling.
        rl: what the objective `actor_critic` adds.
    """

    objective: str = "bc"
    sampler: str = "ast"
    batch_size: int = 256
    demonstration_share: float = 0.25
    warm_start_updates: int = 2000
    updates_per_episode: int = 60
    updates_per_practice: int = 30
    learning_rate: float = 1e-3
    fine_learning_rate: float = 5e-4
    refresh_every: int = 300
    refresh_keep: float = 0.8
    averaging: float = 0.995
    huber: float = 0.5
    gripper_weight: float = 1.0
    hidden_sizes: tuple[int, ...] = (256, 256)
    members: int = 3
    chunk_steps: int = 1
    member_share: float = 0.8
    outcome_batch: int = 64
    observation_noise: float = 0.05
    control_every: int = 1000
    held_out_share: float = 1 / 32
    hindsight: str = "off"
    advantage: float = 0.0
    quickest: float = 0.5
    hindsight_parts: float = 0.5
    own_parts: float = 0.5
    weighting: bool = False
    patience: int = 0
    check_every: int = 100
    validation_share: float = 0.1
    seed: int = 0
    gate: GateConfig = field(default_factory=GateConfig)
    significance: SignificanceConfig = field(default_factory=SignificanceConfig)
    rl: ActorCriticConfig = field(default_factory=ActorCriticConfig)

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"there is no objective '{self.objective}'; there are {', '.join(OBJECTIVES)}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"there is no sampler '{self.sampler}'; there are {', '.join(SAMPLERS)}")
        if self.hindsight not in HINDSIGHT:
            raise ValueError(f"there is no hindsight '{self.hindsight}'; there are {', '.join(HINDSIGHT)}")
        if self.objective != "bc" and (self.hindsight != "off" or self.advantage):
            raise ValueError("hindsight and advantage are of the objective bc; leave them out, or choose bc")
        for name in ("batch_size", "members", "chunk_steps", "check_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("advantage", "hindsight_parts", "own_parts", "patience", "refresh_every", "updates_per_practice"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 0")
        if not 0 < self.validation_share <= 0.5:
            raise ValueError(f"validation_share is {self.validation_share}, expected above 0, at most 0.5")
        for name in ("demonstration_share", "averaging", "held_out_share", "refresh_keep", "quickest"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        for name in ("learning_rate", "fine_learning_rate", "huber", "member_share"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected above 0")

    @property
    def compares(self) -> bool:
        """Whether the sampler is tried against uniform sampling while it trains."""
        return self.sampler == "ast" and self.control_every > 0

    def refreshes_after(self, updates: int) -> bool:
        """Whether the weights are due for a refresh when this many updates are done."""
        since = updates - self.warm_start_updates
        return bool(self.refresh_every) and since > 0 and since % self.refresh_every == 0

    @property
    def exploration(self) -> float:
        """Spread of what the policy tries in training episodes, as a share of the action scale."""
        return self.rl.exploration if self.objective == "actor_critic" else 0.0

    @classmethod
    def of_objective(cls, objective: str, **changes: Any) -> TrainerConfig:  # noqa: ANN401 a value of any field
        """The recipe of an objective, with changes."""
        return cls(**({"objective": objective} | _OF_OBJECTIVE.get(objective, {}) | changes))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON writes it."""
        return asdict(self) | {"hidden_sizes": list(self.hidden_sizes), "rl": self.rl.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainerConfig:
        """Read what `to_dict` gave."""
        return cls(
            **(
                data
                | {
                    "hidden_sizes": tuple(data["hidden_sizes"]),
                    "gate": GateConfig(**data["gate"]),
                    "significance": SignificanceConfig(**data["significance"]),
                    "rl": ActorCriticConfig.from_dict(data["rl"]) if "rl" in data else ActorCriticConfig(),
                }
            )
        )
