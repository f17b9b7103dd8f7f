"""How much memory a replay takes: each is filled and drawn from in a fresh process, whose largest size is read.

`python -m physai_ros.cli.replay_memory KIND COUNT FOLDER` is such a process; it writes one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

_OBSERVATION, _ACTION, _EPISODE = 85, 5, 100  # as in `pick_place`
_UPDATES = 200
_IMAGES = 512  # images that come at once


def measure(states: int, images: int, folder: Path | None = None) -> list[dict[str, Any]]:
    """One row a kind of replay: samples held, peak of resident memory [MB], size on disk [MB], and times [s].

    `states` samples of `pick_place` are filled into a trainer, trained on and saved, then read by another process that
    goes on; `images` of 84x84x3 bytes are written, and drawn from by another process.

    Raises:
        RuntimeError: a process failed; its own words are on standard error.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="physai_replay_") as place:
        cases = [("states", states), ("states, resumed", states), ("images", images)]
        return [_in_fresh_process(kind, count, Path(place)) for kind, count in cases if count]


def _in_fresh_process(kind: str, count: int, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "physai_ros.cli.replay_memory", kind, str(count), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the process that measures '{kind}' failed with exit code {done.returncode}")
    return json.loads(done.stdout)


def _states(count: int, folder: Path) -> None:
    from physai_ros.training.checkpoint import replay_folder, save_checkpoint
    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.dataset import Transitions
    from physai_ros.training.mapped_columns import ReplayFolder
    from physai_ros.training.trainer import SparseTrainer

    path = folder / "trainer.safetensors"
    trainer = SparseTrainer(_OBSERVATION, _ACTION, TrainerConfig(), replay=ReplayFolder(replay_folder(path)))
    generator = np.random.default_rng(0)
    full = np.ones(_EPISODE, dtype=np.float32)
    for number in range(count // _EPISODE):
        observations = generator.standard_normal((_EPISODE, _OBSERVATION), dtype=np.float32)
        rows = Transitions(
            observations=observations,
            actions=np.tanh(observations[:, None, :_ACTION]),
            action_known=full[:, None],
            imitable=full > 0,
            demonstration=full > 0,
            success=full,
            time_to_end=full,
            force_excess=0 * full,
            intervention_age=np.full(_EPISODE, np.inf, dtype=np.float32),
        )
        trainer.add(rows, f"episode-{number:06d}")
    for _ in range(_UPDATES):
        trainer.update()
    save_checkpoint(trainer, path)


def _states_resumed(_count: int, folder: Path) -> None:
    from physai_ros.training.checkpoint import load_checkpoint, replay_folder, save_checkpoint
    from physai_ros.training.mapped_columns import ReplayFolder

    path = folder / "trainer.safetensors"
    trainer = load_checkpoint(path, replay=ReplayFolder(replay_folder(path)))
    for _ in range(_UPDATES):
        trainer.update()
    save_checkpoint(trainer, path)


def _images(count: int, folder: Path) -> None:
    from physai_ros.training.images import ImageReplay

    generator = np.random.default_rng(0)
    some = generator.integers(0, 256, size=(_IMAGES, 84, 84, 3), dtype=np.uint8)
    with ImageReplay(folder / "images", writable=True) as replay:
        for begin in range(0, count, _IMAGES):
            replay.append(some[: min(_IMAGES, count - begin)])
    with ImageReplay(folder / "images") as replay:
        for _ in range(_UPDATES):
            replay.gather(generator.integers(len(replay), size=256))


def main() -> None:
    """Fill the replay that the arguments name, and say what it took."""
    import torch

    torch.set_num_threads(1)
    kind, count, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    began = time.monotonic()
    {"states": _states, "states, resumed": _states_resumed, "images": _images}[kind](count, folder)
    seconds = time.monotonic() - began
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    on_disk = sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())
    row = {
        "replay": kind,
        "samples": count,
        "peak_mb": int(status["VmHWM"].split()[0]) / 1024,
        "on_disk_mb": on_disk / 2**20,
        "seconds": seconds,
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
