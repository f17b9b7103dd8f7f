"""Recorded episodes as a torch loader, for whoever trains a model of their own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from physai_ros.experience.episode import Episode
from physai_ros.training.dataset import EpisodeUnusable, TransitionBuilder, Transitions
from physai_ros.training.loader_pool import Sample


class RobotDataset(Dataset[Sample]):
    """The imitable policy steps of episodes: `{"observations": (size,)}` and the actions (chunk_steps, action_size).

    Where every episode has pictures, `images` (height, width, channels) uint8 are beside the observations.
    A step whose chunk is not known to its end, because the episode or whoever drove it ended before, is none of them:
    a target has no place to say what of it is unknown.

    Attributes:
        quarantined: why episodes or steps were left out.
    """

    def __init__(self, transitions: Iterable[Transitions], quarantined: Iterable[str] = ()) -> None:
        parts = [part.select(part.imitable & (part.action_known > 0).all(axis=1)) for part in transitions]
        if not any(len(part) for part in parts):
            raise ValueError("no step of these episodes can be imitated: a successful demonstration or a correction is")
        columns = [part.columns() for part in parts]
        pictures = [part.images for part in parts]
        images = None if any(each is None for each in pictures) else np.concatenate(pictures)
        self.transitions = Transitions(
            **{name: np.concatenate([c[name] for c in columns]) for name in columns[0]}, images=images
        )
        self.quarantined = tuple(quarantined)
        self._event_time = np.concatenate([part.event_time for part in parts])

    def __len__(self) -> int:
        return len(self.transitions)

    def __getitem__(self, index: int) -> Sample:
        rows = self.transitions
        inputs = {"observations": torch.from_numpy(rows.observations[index])}
        if rows.images is not None:
            inputs["images"] = torch.from_numpy(rows.images[index])
        return inputs, torch.from_numpy(rows.actions[index])

    def physical_feedback(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Time to failure [s], force over budget, time since an operator took over [s] and to a grasp or release [s].

        Each is (n,), as `SampleLedger.append` takes them.
        """
        rows = self.transitions
        failure_time = np.where(rows.success > 0, np.inf, rows.time_to_end)
        age = np.where(rows.demonstration, np.inf, rows.intervention_age)
        return failure_time, rows.force_excess, age, self._event_time


def create_robot_dataloader(
    episodes: Iterable[Episode], builder: TransitionBuilder, *, batch_size: int = 64, shuffle: bool = True
) -> DataLoader[Sample]:
    """A loader of what can be imitated in these episodes; what cannot is named in its data set's `quarantined`.

    Raises:
        ValueError: nothing can be imitated.
    """
    transitions, left_out = [], []
    for episode in episodes:
        try:
            built = builder.build(episode)
        except EpisodeUnusable as error:
            left_out.append(str(error))
            continue
        left_out += built.quarantined
        transitions.append(built)
    return DataLoader(RobotDataset(transitions, left_out), batch_size=batch_size, shuffle=shuffle)
