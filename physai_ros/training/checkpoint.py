"""One file from which training goes on as if it had never stopped; samples lie beside it, or come from the episodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.distributed import Ranks
from physai_ros.training.mapped_columns import ReplayFolder
from physai_ros.training.tensor_file import write_tensors
from physai_ros.training.trainer import SparseTrainer

_FORMAT = "physai_ros trainer 4"


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why and what to do."""


def replay_folder(path: Path) -> Path:
    """Where the samples of the checkpoint `path` lie; the folder can be deleted, the episodes give them again."""
    return path.with_suffix(".replay")


def save_checkpoint(trainer: SparseTrainer, path: Path) -> None:
    """Write the trainer's state; at any moment the file holds the state before or this one, never a mixture.

    What can be made again from the episodes is not in it: samples in a `ReplayFolder` are made durable where they are.

    Raises:
        OSError: the disk does not take it; the file is as it was.
    """
    if trainer.replay is not None:
        trainer.replay.sync()
    arrays, values = trainer.state()
    write_tensors(path, arrays, {"format": _FORMAT, "state": json.dumps(values)})


def load_checkpoint(
    path: Path,
    episodes: Callable[[str], Transitions] | None = None,
    *,
    ranks: Ranks | None = None,
    replay: ReplayFolder | None = None,
) -> SparseTrainer:
    """The trainer that was saved.

    Its samples are those of `replay`; where that is not given, or does not hold them, `episodes` gives every episode
    again by its id.

    Raises:
        CheckpointError: the file is missing, corrupted or no checkpoint, or its samples cannot be had again.
    """
    arrays, values = _read(path)
    try:
        return SparseTrainer.from_state(arrays, values, episodes, ranks=ranks, replay=replay)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be gone on from ({error}); delete it to start anew") from error


def checkpoint_config(path: Path) -> TrainerConfig:
    """The recipe that a checkpoint was begun with.

    Raises:
        CheckpointError: the file is missing, corrupted or no checkpoint.
    """
    _, values = _read(path)
    try:
        return TrainerConfig.from_dict(values["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} does not fit this code ({error}); delete it to start anew") from error


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise CheckpointError(
                    f"checkpoint {path} is of format '{metadata.get('format')}', expected '{_FORMAT}'; delete it to "
                    "start anew"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, json.loads(metadata["state"])
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"checkpoint {path} is corrupted ({error}); delete it to start anew") from error
