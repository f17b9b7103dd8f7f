"""Trains a success detector from labelled episodes, and calibrates it on the same ones, fold by fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from physai_ros.feedback.glances import Glances, Outlook
from physai_ros.feedback.success_detector import DetectorNetwork, Fold, SuccessDetector, evidence_of, logits_of

_NORMALIZED_ON = 500  # pictures of which the statistics of a channel are taken


class TooFewLabels(ValueError):
    """There are too few labelled episodes; the message says how many of which kind it takes."""


class LabelledEpisode(NamedTuple):
    """What was seen of an episode, and whether it succeeded."""

    episode_id: str
    glances: Glances
    success: bool


@dataclass(frozen=True)
class DetectorRecipe:
    """How a detector is trained.

    Attributes:
        rate: share of failed episodes that may be called a success.
        in_a_row: glances that must say the same.
        folds: parts of the episodes; as many networks, each trained without one of them.
        updates, batch_size, learning_rate: of each network.
        features: length of what the network makes of its senses.
        final: time before the end of a success [s] in which it shows.
        doubt: time before the end of a success [s] from which it may show; what lies between the two is not learned
            from, and what was before is not yet a success.
        jitter: share of the picture by which it is shifted at random, so that its place is not learned by heart.
        seed: of folds, weights and batches.
    """

    rate: float = 0.05
    in_a_row: int = 2
    folds: int = 5
    updates: int = 100
    batch_size: int = 48
    learning_rate: float = 2e-3
    features: int = 64
    final: float = 0.35
    doubt: float = 0.65
    jitter: float = 0.03
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < 1.0:
            raise ValueError(f"the false-success rate is {self.rate!r}; expected a number between 0 and 1")
        if self.folds < 2 or self.updates < 1 or self.batch_size < 2 or self.in_a_row < 1:
            raise ValueError(f"{self}: expected at least 2 folds, 1 update, batches of 2 and 1 in a row")
        if not 0.0 <= self.final <= self.doubt:
            raise ValueError(f"final {self.final:g} s, doubt {self.doubt:g} s; expected 0 <= final <= doubt")

    @property
    def least(self) -> int:
        """Episodes of either kind that the rate takes."""
        return max(math.ceil(1.0 / self.rate - 1.0 - 1e-9), self.folds)


def train_detector(
    episodes: Sequence[LabelledEpisode],
    outlook: Outlook,
    recipe: DetectorRecipe,
    on_update: Callable[[], None] = lambda: None,
) -> SuccessDetector:
    """A detector trained and calibrated on these episodes; `on_update` hears of every update of every network.

    Final glances of successes are what success looks like; all others, of failures the final ones too, are what it does
    not look like. Every batch holds as many of either.

    Raises:
        TooFewLabels: failures or successes are too few for the rate or the folds.
    """
    won = [each for each in episodes if each.success]
    lost = [each for each in episodes if not each.success]
    _check(len(won), len(lost), recipe)
    generator = np.random.default_rng([recipe.seed, 0xDE])
    # Either kind is dealt out evenly, so that every network has seen both.
    fold_of: dict[str, int] = {}
    for kind in (won, lost):
        for place, index in enumerate(generator.permutation(len(kind))):
            fold_of[kind[index].episode_id] = place % recipe.folds
    networks, calibration = [], []
    for fold in range(recipe.folds):
        seen = [each for each in episodes if fold_of[each.episode_id] != fold]
        network = _train(seen, outlook, recipe, fold, on_update)
        kinds = ([each for each in kind if fold_of[each.episode_id] == fold] for kind in (lost, won))
        networks.append(network)
        calibration.append(Fold(*(_evidence(network, kind, recipe) for kind in kinds)))
    return SuccessDetector(
        outlook, tuple(networks), tuple(calibration), recipe.rate, recipe.in_a_row, recipe.doubt, fold_of
    )


def _evidence(network: DetectorNetwork, episodes: Sequence[LabelledEpisode], recipe: DetectorRecipe) -> np.ndarray:
    """Evidence (n,) for success, ascending, in episodes as long as they had not succeeded."""
    found = []
    for each in episodes:
        not_yet = [_shows(each, row, recipe) == 0.0 for row in range(len(each.glances))]
        found.append(evidence_of(logits_of(network, each.glances)[not_yet], recipe.in_a_row))
    return np.sort(np.array(found, dtype=np.float32))


def _check(won: int, lost: int, recipe: DetectorRecipe) -> None:
    for count, kind in ((lost, "failures"), (won, "successes")):
        if count < recipe.least:
            other = f", or set a rate of at least {1.0 / (count + 1.0):.3g}" if count >= recipe.folds else ""
            raise TooFewLabels(
                f"{count} labelled {kind} cannot hold a false-success rate of {recipe.rate:g}: it takes "
                f"{recipe.least}; label more of them{other}"
            )


def _train(
    episodes: Sequence[LabelledEpisode],
    outlook: Outlook,
    recipe: DetectorRecipe,
    fold: int,
    on_update: Callable[[], None],
) -> DetectorNetwork:
    generator = np.random.default_rng([recipe.seed, fold, 0xD1])
    rows = [(each, row) for each in episodes for row in range(len(each.glances))]
    shows = np.array([_shows(each, row, recipe) for each, row in rows])
    positive, negative = np.flatnonzero(shows == 1.0), np.flatnonzero(shows == 0.0)
    if not len(positive) or not len(negative):
        raise TooFewLabels("the labelled successes have no picture of their end, or nothing else: record the cameras")
    network = DetectorNetwork(outlook, recipe.features, seed=int(generator.integers(2**31)))
    sample = generator.choice(len(rows), min(_NORMALIZED_ON, len(rows)), replace=False)
    images, told = _gathered(rows, sample)
    network.encoder.set_normalization("vision", images)
    network.encoder.set_normalization("proprioception", np.nan_to_num(told))
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.updates)
    half = recipe.batch_size // 2
    network.train()
    for _ in range(recipe.updates):
        drawn = np.concatenate([generator.choice(positive, half), generator.choice(negative, half)])
        images, told = _gathered(rows, drawn)
        shifted = torch.from_numpy(_shifted(images, recipe.jitter, generator))
        logits = network(shifted, torch.from_numpy(told))
        target = torch.from_numpy(shows[drawn].astype(np.float32))
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        on_update()
    return network.eval()


def _shows(episode: LabelledEpisode, row: int, recipe: DetectorRecipe) -> float:
    """1 where a glance shows success, 0 where it does not, NaN where nobody knows."""
    if not episode.success:
        return 0.0
    left = float(episode.glances.stamps[-1] - episode.glances.stamps[row])
    if left < recipe.final:
        return 1.0
    return 0.0 if left > recipe.doubt else float("nan")


def _gathered(rows: list[tuple[LabelledEpisode, int]], indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    taken = [rows[index] for index in indices.tolist()]
    images = np.stack([each.glances.images[row] for each, row in taken])
    return images, np.stack([each.glances.told[row] for each, row in taken])


def _shifted(images: np.ndarray, jitter: float, generator: np.random.Generator) -> np.ndarray:
    """Images (n, h, w, c), each moved at random by at most this share of its size; edges are repeated."""
    margin = round(jitter * images.shape[1])
    if not margin:
        return images
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    offsets = generator.integers(0, 2 * margin + 1, size=(len(images), 2))
    return np.stack([each[y : y + height, x : x + width] for each, (y, x) in zip(padded, offsets, strict=True)])
