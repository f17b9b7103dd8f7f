"""When to stop: once what is not trained on has not got better for a while."""

from __future__ import annotations

import math
from typing import Any


class EarlyStop:
    """Watches a loss on held-out episodes; `patience` checks in a row that bring nothing better are enough.

    Source: Prechelt, "Early stopping, but when?", 1998. The loss is not success: what it stops is overfitting.

    Attributes:
        best_loss, best_update: the best check so far; NaN and 0 before the first.
        waited: checks since.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self.best_loss = math.nan
        self.best_update = 0
        self.waited = 0

    @property
    def reached(self) -> bool:
        """Whether to stop."""
        return 0 < self._patience <= self.waited

    def judge(self, update: int, loss: float) -> bool:
        """Take in the loss after an update; returns whether it is the best so far. A loss of NaN never is."""
        if loss < self.best_loss or (math.isnan(self.best_loss) and not math.isnan(loss)):
            self.best_loss, self.best_update, self.waited = loss, update, 0
            return True
        self.waited += 1
        return False

    def state(self) -> dict[str, Any]:
        """JSON values from which `restore` makes the same."""
        best = None if math.isnan(self.best_loss) else self.best_loss
        return {"best_loss": best, "best_update": self.best_update, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        self.best_loss = math.nan if state["best_loss"] is None else float(state["best_loss"])
        self.best_update, self.waited = int(state["best_update"]), int(state["waited"])
