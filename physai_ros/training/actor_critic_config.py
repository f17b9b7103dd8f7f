"""The recipe of reinforcement learning, beside what it shares with imitation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ActorCriticConfig:
    """What the actor-critic objective adds to `TrainerConfig`.

    Attributes:
        discount: of a success a policy step later.
        horizon: policy steps over which rewards are summed before the critic is asked.
        critics: members of the ensemble.
        asked: of these, how many are asked about what follows; the least of what they say is taken.
        critic_sizes: widths of a critic's layers.
        fine: share of the action scale over which critics are told actions once more, as tanh of their share of it, as
            the task's features are told twice; 0: they are not.
        critic_learning_rate: of the critics.
        critic_averaging: decay an update of the average of the critics that is asked.
        own_share: of a batch, steps of the policy itself; the rest are demonstrations and corrections.
        head_start: updates of the critics with the policy's own steps before the actor heeds them.
        actor_every: updates of the critics for each of the actor.
        greed: weight of the critic's word beside imitation.
        loyalty, loyalty_end: weight of imitation at first, and where it goes.
        loyalty_updates: updates over which what is above the end falls to a third.
        pride: weight of imitation of the policy's own steps in episodes that succeeded.
        pessimism: standard deviations between the critics that are taken off what the actor makes of their word.
        residual_bound: how far the actor may come away from what imitation had taught it when it began to heed the
            critics, as a share of the action scale; 2 bounds nothing, below that the gripper stays as it was.
        exploration: spread of what the policy does in training about what it would do, as a share of the action scale.
        delicate: whether that is in proportion to what it would do, as `policy.exploration` has it for the task.
        force_penalty: what a policy step with double the force budget costs; 1 is the worth of success.
        jerk_penalty: what a policy step costs in which the motion changes by the whole action scale.
    """

    discount: float = 0.97
    horizon: int = 6
    critics: int = 4
    asked: int = 2
    critic_sizes: tuple[int, ...] = (128, 128)
    fine: float = 0.1
    critic_learning_rate: float = 5e-4
    critic_averaging: float = 0.98
    own_share: float = 0.5
    head_start: int = 3000
    actor_every: int = 2
    greed: float = 0.5
    loyalty: float = 1.0
    loyalty_end: float = 0.2
    loyalty_updates: int = 10_000
    pride: float = 0.0
    pessimism: float = 1.0
    residual_bound: float = 0.1
    exploration: float = 0.1
    delicate: bool = False
    force_penalty: float = 0.0
    jerk_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name in ("horizon", "critics", "asked", "actor_every", "loyalty_updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.asked > self.critics:
            raise ValueError(f"asked is {self.asked}, expected at most the {self.critics} critics there are")
        if not self.critic_sizes or any(size < 1 for size in self.critic_sizes):
            raise ValueError(f"critic_sizes is {self.critic_sizes}, expected widths of at least 1")
        for name in ("discount", "critic_averaging", "own_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected above 0, below 1")
        if not self.critic_learning_rate > 0:
            raise ValueError(f"critic_learning_rate is {self.critic_learning_rate}, expected above 0")
        for name in (
            "head_start",
            "greed",
            "loyalty",
            "loyalty_end",
            "pride",
            "fine",
            "pessimism",
            "residual_bound",
            "exploration",
            "force_penalty",
            "jerk_penalty",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 0")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON writes it."""
        return asdict(self) | {"critic_sizes": list(self.critic_sizes)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ActorCriticConfig:
        """Read what `to_dict` gave."""
        return cls(**(data | {"critic_sizes": tuple(data["critic_sizes"])}))
