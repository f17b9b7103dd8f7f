"""Batches that each hold about what the whole pass holds: picks are dealt out in strata of like motions.

A random batch has by chance too much of one motion and too little of another, and the gradient follows. Dealt out one
from each stratum, the noise between strata is gone and the gradient stays unbiased. Sources: Neyman, "On the two
different aspects of the representative method", 1934; Zhao and Zhang, "Accelerating minibatch stochastic gradient
descent using stratified sampling", 2014.
"""

from __future__ import annotations

import numpy as np

_EDGES = (-0.6, -0.2, 0.2, 0.6)
_MOST_AXES = 24  # that a number of 64 bits tells apart


def motion_of(actions: np.ndarray) -> np.ndarray:
    """A number (n,) for the motion that each action (n, action_size) in -1 ... 1 is; like motions have near numbers.

    Every axis is told apart in five steps; the last one, the gripper's, divides first.
    """
    cells = np.searchsorted(_EDGES, actions[:, -_MOST_AXES:])
    return cells @ (len(_EDGES) + 1) ** np.arange(cells.shape[1], dtype=np.int64)


def dealt_out(motions: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """An order (p,) of picks with `motions` (p,) in which each `count` that follow each other are one of each stratum.

    The picks, sorted by their motion, are divided into `count` strata of equal size; what does not divide comes last.
    """
    order = generator.permutation(len(motions))
    batches = len(order) // count
    if batches < 2:
        return order
    last, dealt = np.split(order, [len(order) - batches * count])
    dealt = dealt[np.argsort(motions[dealt], kind="stable")].reshape(count, batches)
    # Which of a stratum comes when, and in which order within a batch: batches need not begin with a pass.
    dealt = generator.permuted(generator.permuted(dealt, axis=1).T, axis=1)
    return np.concatenate([dealt.ravel(), last])
