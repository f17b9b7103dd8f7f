"""What an episode is: who, what, why, which version."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Purpose(IntEnum):
    """Why an episode is run; values as in EpisodeContext.msg. EVALUATE never enters replay."""

    TRAIN = 0
    EVALUATE = 1
    DEMONSTRATE = 2


class Phase(IntEnum):
    """Where an episode stands; values as in EpisodeContext.msg."""

    IDLE = 0
    RUNNING = 1
    ENDED = 2


@dataclass(frozen=True)
class EpisodeContext:
    """One episode's context; fields as in EpisodeContext.msg, `stamp` in seconds on the node clock."""

    episode_id: str = ""
    phase: Phase = Phase.IDLE
    purpose: Purpose = Purpose.TRAIN
    task: str = ""
    instruction: str = ""
    goal: tuple[float, ...] = ()
    scenario_json: str = ""
    seed: int = 0
    policy_version: str = ""
    robot: str = ""
    start_sequence: int = 0
    end_reason: str = ""
    stamp: float = 0.0
