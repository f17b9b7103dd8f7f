"""One file from which training goes on as if it had never stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import safetensors.numpy
from safetensors import SafetensorError, safe_open

from physai_ros.training.trainer import SparseTrainer

_FORMAT = "physai_ros trainer 3"


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why and what to do."""


def save_checkpoint(trainer: SparseTrainer, path: Path) -> None:
    """Write the trainer's whole state; at any moment the file holds the state before or this one, never a mixture."""
    arrays, values = trainer.state()
    path.parent.mkdir(parents=True, exist_ok=True)
    data = safetensors.numpy.save(arrays, metadata={"format": _FORMAT, "state": json.dumps(values)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_checkpoint(path: Path) -> SparseTrainer:
    """The trainer that was saved.

    Raises:
        CheckpointError: the file is missing, corrupted or no checkpoint.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"checkpoint {path} is corrupted ({error}); delete it to start anew") from error
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} is of format '{metadata.get('format')}', expected '{_FORMAT}'; delete it to start anew"
        )
    try:
        return SparseTrainer.from_state(arrays, json.loads(metadata["state"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path} does not fit this code ({error}); delete it to start anew") from error
