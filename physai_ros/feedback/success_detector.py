"""A success detector: a picture classifier whose verdict on an episode is calibrated on episodes that people judged."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from physai_ros.feedback.glances import Glances, Outlook
from physai_ros.policy.encoder import EncoderShape, MultiModalInputs, MultiModalRobotEncoder

_AT_ONCE = 64  # glances that are looked at together


class DetectorNetwork(nn.Module):
    """Logit of success at one instant, from what is seen and what is told."""

    def __init__(self, outlook: Outlook, features: int = 64, seed: int = 0) -> None:
        super().__init__()
        image = (outlook.size, outlook.size, 3 * len(outlook.cameras))
        shape = EncoderShape(outlook.told_size, image=image, features=features, dropout=0.0, cameras=outlook.cameras)
        self.encoder = MultiModalRobotEncoder(shape, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Linear(features, 1)

    def forward(self, images: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """Logits (n,) of images (n, size, size, channels), bytes or 0 ... 1, and what is told (n, k)."""
        return self.head(self.encoder(MultiModalInputs(proprioception=told, vision=images)))[:, 0]


class Verdict(NamedTuple):
    """What a detector says of an episode.

    `p_value` in 0 ... 1: the share of failed or of unfinished episodes, whichever is larger, that look as much like a
    success; `success` where it is no larger than the detector's rate; `stamp` [s] of the glance from which it was, NaN
    for a failure.
    """

    success: bool
    p_value: float
    stamp: float


class Fold(NamedTuple):
    """Evidence for success, ascending, that a network found in episodes that it was not trained on.

    `failed` (m,) in those that failed, `unfinished` (k,) in those that succeeded, before they did.
    """

    failed: np.ndarray
    unfinished: np.ndarray


@dataclass(frozen=True)
class SuccessDetector:
    """Says from pictures whether an episode succeeded, and is wrong about a failed one at a rate that the user sets.

    There are several networks, one a fold: each was trained without the episodes of its fold, and its evidence on those
    is kept. The evidence for success in an episode is the largest logit that `in_a_row` glances reach one after the
    other. A further episode is compared with each of the n failed ones by the network that had not seen it:
    (1 + those that look at least as much like a success) / (n + 1) is its p-value, and so with the successes up to
    `doubt` before their end, which had not succeeded yet. It is called a success where neither is above `rate`
    (cross-conformal prediction). For episodes exchangeable with the labelled ones the chance that a failed one is
    called a success is then about `rate`, and so the chance that a success is called one too early; what is proven is
    less than twice that and a little. It says nothing about how many successes are seen.

    Sources: Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74, 2015; Barber,
    Candes, Ramdas, Tibshirani, "Predictive inference with the jackknife+", Annals of Statistics 49, 2021 (the bound);
    Luo et al., "Precise and dexterous robotic manipulation via human-in-the-loop reinforcement learning", 2024
    (HIL-SERL), whose rewards come from such a classifier, there with a threshold set by hand.

    Attributes:
        outlook: what it looks at.
        networks: one a fold.
        calibration: one a fold.
        rate: share of failed episodes that may be called a success.
        in_a_row: glances, `glances.PERIOD` apart, that must say the same.
        doubt: time before the end of a success [s] from which it may show.
        fold_of: fold by id of every episode that it was trained on.
        digest: of its file, empty before there is one.
    """

    outlook: Outlook
    networks: tuple[DetectorNetwork, ...]
    calibration: tuple[Fold, ...]
    rate: float = 0.05
    in_a_row: int = 2
    doubt: float = 0.65
    fold_of: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        if len(self.networks) != len(self.calibration) or not self.networks:
            raise ValueError(f"{len(self.networks)} networks and {len(self.calibration)} folds; expected as many")
        if not 0.0 < self.rate < 1.0 or self.in_a_row < 1:
            raise ValueError(f"rate {self.rate!r}, {self.in_a_row} in a row; expected between 0 and 1, and at least 1")

    def logits(self, glances: Glances) -> np.ndarray:
        """Logits (n, folds) of every network at n instants."""
        return np.stack([logits_of(network, glances) for network in self.networks], axis=1)

    def p_value(self, evidence: np.ndarray, episode_id: str = "") -> float:
        """Share of failed episodes with at least this evidence (folds,), or of unfinished ones if that is larger.

        An episode that it was trained on is judged by the network that has not seen it, and not compared with itself.
        """
        return max(self._share(kind, evidence, self.fold_of.get(episode_id)) for kind in range(len(Fold._fields)))

    def _share(self, kind: int, evidence: np.ndarray, own_fold: int | None) -> float:
        known = [fold[kind] for fold in self.calibration]
        count = sum(map(len, known))
        if own_fold is None:
            more = sum(_at_least(each, float(own)) for each, own in zip(known, evidence, strict=True))
            return (1 + more) / (count + 1)
        own = float(evidence[own_fold])
        itself = own in known[own_fold].tolist()
        return (1 + sum(_at_least(each, own) for each in known) - itself) / (count + 1 - itself)

    def judge(self, glances: Glances, episode_id: str = "") -> Verdict:
        """Verdict on an episode, of which this was seen."""
        return self.verdict(glances.stamps, self.logits(glances), episode_id)

    def verdict(self, stamps: np.ndarray, logits: np.ndarray, episode_id: str = "") -> Verdict:
        """Verdict from the logits (n, folds) at the instants (n,) [s] of an episode."""
        watch, p_value = SuccessWatch(self, episode_id), 1.0
        for stamp, row in zip(stamps.tolist(), logits, strict=True):
            p_value = watch.hear(row)
            if p_value <= self.rate:
                return Verdict(True, p_value, stamp)
        return Verdict(False, p_value, float("nan"))


class SuccessWatch:
    """Follows one episode with a detector, glance by glance."""

    def __init__(self, detector: SuccessDetector, episode_id: str = "") -> None:
        self.detector = detector
        self._episode_id = episode_id
        self._recent: deque[np.ndarray] = deque(maxlen=detector.in_a_row)
        self._evidence = np.full(len(detector.networks), -np.inf)

    def look(self, image: np.ndarray, told: np.ndarray) -> float:
        """P-value of the episode after one more glance: an image (size, size, channels) and what is told (k,)."""
        return self.hear(self.detector.logits(Glances(np.zeros(1), image[None], told[None]))[0])

    def hear(self, logits: np.ndarray) -> float:
        """The same from the networks' logits (folds,)."""
        self._recent.append(logits)
        if len(self._recent) == self.detector.in_a_row:
            self._evidence = np.maximum(self._evidence, np.min(self._recent, axis=0))
        return self.detector.p_value(self._evidence, self._episode_id)


def logits_of(network: DetectorNetwork, glances: Glances) -> np.ndarray:
    """Logits (n,) float32 of one network at n instants."""
    found = [np.zeros(0, dtype=np.float32)]
    network.eval()
    with torch.no_grad():
        for begin in range(0, len(glances), _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            images, told = torch.from_numpy(glances.images[part]), torch.from_numpy(glances.told[part])
            found.append(network(images, told).numpy())
    return np.concatenate(found)


def evidence_of(logits: np.ndarray, in_a_row: int) -> float:
    """Largest logit that so many of (n,) in a row reach; minus infinity where there are fewer."""
    if len(logits) < in_a_row:
        return -float("inf")
    return float(np.lib.stride_tricks.sliding_window_view(logits, in_a_row).min(axis=1).max())


def _at_least(ascending: np.ndarray, value: float) -> int:
    """How many of the numbers are `value` or more."""
    return len(ascending) - int(np.searchsorted(ascending, value, side="left"))
