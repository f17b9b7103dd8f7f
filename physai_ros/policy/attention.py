"""Attention of the present to what was before it: the newest observations, and a learned few of the older ones."""

from __future__ import annotations

import math

import torch
from torch import nn


class HistoryAttention(nn.Module):
    """Adds to the present features what a head of attention finds in those of the steps before.

    With `sparse` it looks at the `local` newest and, of the older ones, at the `top` whose keys agree best with the
    query, which is learned with the rest; without, at all. What is not known is never looked at, and where nothing is,
    the present stays as it is. A learned bias a step tells old from new. Source of the pattern: Gupta et al.,
    "Memory-efficient transformers via top-k attention", 2021.
    """

    def __init__(self, features: int, window: int, *, sparse: bool, local: int = 4, top: int = 4) -> None:
        super().__init__()
        self.sparse, self._local, self._top = sparse, local, top
        self.query, self.key = nn.Linear(features, features), nn.Linear(features, features)
        self.value = nn.Linear(features, features)
        # Nothing is added at first: training starts from the network without a memory.
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        self.age = nn.Parameter(torch.zeros(window - 1))

    def forward(self, present: torch.Tensor, past: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Features (n, f) from those at present (n, f), before (n, k, f), the newest last, and whether known (n, k)."""
        steps = past.shape[1]
        scores = (self.key(past) @ self.query(present)[:, :, None]).squeeze(-1) / math.sqrt(present.shape[1])
        scores = scores + self.age[len(self.age) - steps :]
        heeded = self._heeded(scores.detach(), known)
        # A finite number, and none of it afterwards: where nothing is known, the softmax of -inf is no number.
        weights = torch.softmax(scores.masked_fill(~heeded, -1e9), dim=1) * heeded
        return present + (weights[:, None] @ self.value(past)).squeeze(1)

    def _heeded(self, scores: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Which steps (n, k) are looked at."""
        older = known.shape[1] - self._local
        if not self.sparse or older <= self._top:
            return known
        heeded = known.clone()
        candidates = scores[:, :older].masked_fill(~known[:, :older], -torch.inf)
        best = candidates.topk(self._top, dim=1).indices
        # By comparison: tracers do not know how to scatter a truth value.
        chosen = (torch.arange(older) == best[:, :, None]).any(dim=1)
        heeded[:, :older] = chosen & known[:, :older]
        return heeded
