"""Training to the end of a budget: updates, checks on held-out episodes, states saved on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

from physai_ros.training.checkpoint import save_checkpoint
from physai_ros.training.loop import TrainingCounters, UpdateStats
from physai_ros.training.trainer import SparseTrainer

_RATES = 1000  # learning rates of a run, so that a budget of time and one of steps go through the same


@dataclass(frozen=True)
class Budget:
    """How long to train, in all: what was done before a resume counts.

    One of `seconds` of CPU time, `steps` (updates) and `samples` that carried a gradient.
    """

    seconds: float | None = None
    steps: int | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in astuple(self) if value is not None]
        if len(given) != 1:
            raise ValueError(f"{len(given)} budgets are given, expected one of seconds, steps and samples")
        if not given[0] > 0:
            raise ValueError(f"the budget is {given[0]}, expected above 0")

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds:g} s of CPU"
        return f"{self.steps} steps" if self.steps is not None else f"{self.samples} samples"

    def share(self, counters: TrainingCounters) -> float:
        """How much of it is used, 1 or more when all is."""
        if self.seconds is not None:
            return counters.cpu_seconds / self.seconds
        if self.steps is not None:
            return counters.updates / self.steps
        return counters.backward / (self.samples or 1)


class Progress(NamedTuple):
    """Where training stands after an update; `held_out_loss` is None where it was not measured just now."""

    share: float
    learning_rate: float
    stats: UpdateStats
    held_out_loss: float | None


def train_to_budget(
    trainer: SparseTrainer,
    budget: Budget,
    checkpoint: Path | None,
    *,
    save_seconds: float = 30.0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stopped: Callable[[], bool] = lambda: False,
) -> str:
    """Train until the budget is used, nothing gets better any more, or `stopped()`; returns why it ended.

    The state is saved to `checkpoint` every `save_seconds` of wall-clock and at the end, unless that is None. When the
    process is killed at any moment, the same call on what was saved last comes to the same weights, for every budget
    but that of time. The learning rate falls with the share of the budget that is used.

    Raises:
        RuntimeError: there is nothing to imitate, or nothing to judge by though `patience` is set.
        OSError: the state cannot be saved.
    """
    config, early_stop = trainer.config, trainer.early_stop
    if config.patience and not len(trainer.validation):
        raise RuntimeError(
            "patience needs held-out episodes to judge by: give at least two that can be imitated, or patience 0"
        )
    saved = time.monotonic()
    while True:
        # Time is measured, and must be one thing for all processes that train together.
        share = trainer.ranks.first(budget.share(trainer.counters))
        if share >= 1.0:
            reason = f"the budget of {budget} is used"
            break
        if early_stop.reached:
            reason = (
                f"stopped early: the loss on held-out episodes was lowest ({early_stop.best_loss:.4f}) after update "
                f"{early_stop.best_update}, and not better in {early_stop.waited} checks since"
            )
            break
        if stopped():
            reason = f"interrupted with {share:.0%} of the budget of {budget} used; run it again to go on"
            break
        rate = trainer.warm_start_rate(round(_RATES * share), _RATES)
        stats = trainer.update(rate)
        due = config.patience and trainer.counters.updates % config.check_every == 0
        on_progress(Progress(share, rate, stats, trainer.check() if due else None))
        if checkpoint is not None and time.monotonic() - saved > save_seconds:
            save_checkpoint(trainer, checkpoint)
            saved = time.monotonic()
    if checkpoint is not None:
        save_checkpoint(trainer, checkpoint)
    return reason
