"""`physai bench replay`: our prioritised replay beside torchrl's, insert and sample rates in one run.

A wheel of torchrl fits few versions of torch: those of 0.11.0 to 0.14.1 do not load
their sum tree (C++) beside torch 2.13.0+cpu. Where it does not load, a sum tree in numpy with fixed
arrays takes its place, and the rows say so.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

# The rows of `pick_place`: what the policy saw and what was done.
_OBSERVATION, _ACTION = 85, 5
_EPISODE = 100  # rows that come at once
_BATCH = 256
_ALPHA = 0.6  # power of the priorities, the same for both


class Replay(ABC):
    """A prioritised replay under test: the same work for each."""

    name: str

    @abstractmethod
    def insert(self, observations: np.ndarray, actions: np.ndarray) -> None:
        """Take in one episode: observations (n, observation_size), actions (n, action_size)."""

    @abstractmethod
    def turn(self, errors: np.ndarray) -> None:
        """Draw a batch with all its rows, and give what was drawn priorities by `errors` (batch,)."""


class OwnReplay(Replay):
    """`training.prioritized_replay.PrioritizedReplay`."""

    name = "physai_ros"

    def __init__(self, seed: int) -> None:
        from physai_ros.training.prioritized_replay import PrioritizedReplay

        self._replay = PrioritizedReplay()
        self._generator = np.random.default_rng(seed)

    def insert(self, observations: np.ndarray, actions: np.ndarray) -> None:
        """Take in one episode."""
        self._replay.insert({"observation": observations, "action": actions})

    def turn(self, errors: np.ndarray) -> None:
        """Draw a batch, and give it new priorities."""
        batch = self._replay.draw(len(errors), self._generator)
        self._replay.update(batch.indices, errors**_ALPHA)


class TorchrlReplay(Replay):
    """torchrl's prioritised buffer (its sum tree is C++), on tensors in memory.

    Raises:
        ImportError: torchrl is not installed.
    """

    name = "torchrl"

    def __init__(self, size: int, seed: int) -> None:
        import torch
        from tensordict import TensorDict
        from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
        from torchrl.data.replay_buffers.samplers import PrioritizedSampler

        torch.manual_seed(seed)
        self._from_numpy, self._dict = torch.from_numpy, TensorDict
        self._buffer = TensorDictReplayBuffer(
            storage=LazyTensorStorage(size),
            sampler=PrioritizedSampler(size, alpha=_ALPHA, beta=0.4),
            batch_size=_BATCH,
        )

    def insert(self, observations: np.ndarray, actions: np.ndarray) -> None:
        """Take in one episode."""
        rows = {"observation": self._from_numpy(observations), "action": self._from_numpy(actions)}
        self._buffer.extend(self._dict(rows, batch_size=[len(observations)]))

    def turn(self, errors: np.ndarray) -> None:
        """Draw a batch, and give it new priorities."""
        batch = self._buffer.sample()
        self._buffer.update_priority(batch["index"], self._from_numpy(errors))


class SumTreeReplay(Replay):
    """The same algorithm in numpy: a binary tree of sums over arrays of a fixed size, all of a batch at once."""

    name = "sum tree in numpy"

    def __init__(self, size: int, seed: int) -> None:
        self._observations = np.empty((size, _OBSERVATION), dtype=np.float32)
        self._actions = np.empty((size, _ACTION), dtype=np.float32)
        self._leaves = 1 << (size - 1).bit_length()
        self._sums = np.zeros(2 * self._leaves)
        self._generator = np.random.default_rng(seed)
        self._count, self._highest = 0, 1.0

    def insert(self, observations: np.ndarray, actions: np.ndarray) -> None:
        """Take in one episode, with the highest priority so far."""
        rows = np.arange(self._count, self._count + len(observations))
        self._observations[rows], self._actions[rows] = observations, actions
        self._set(rows, np.full(len(rows), self._highest))
        self._count += len(rows)

    def turn(self, errors: np.ndarray) -> None:
        """Draw a batch, and give it new priorities."""
        rest = self._generator.random(len(errors)) * self._sums[1]
        node = np.ones(len(errors), dtype=np.int64)
        while node[0] < self._leaves:
            left = self._sums[2 * node]
            right = rest >= left
            rest -= left * right
            node = 2 * node + right
        rows = np.minimum(node - self._leaves, self._count - 1)
        self._observations[rows], self._actions[rows]  # the batch, copied out
        priorities = errors.astype(float) ** _ALPHA
        self._set(rows, priorities)
        self._highest = max(self._highest, float(priorities.max()))

    def _set(self, rows: np.ndarray, priorities: np.ndarray) -> None:
        node = rows + self._leaves
        self._sums[node] = priorities
        while node[0] > 1:
            node = np.unique(node // 2)
            self._sums[node] = self._sums[2 * node] + self._sums[2 * node + 1]


def peer_of(size: int, seed: int) -> Replay:
    """A buffer of torchrl where its sum tree loads, and one in numpy where it does not."""
    try:
        from torchrl._torchrl import SumSegmentTreeFp32  # noqa: F401 this is what a wheel for another torch lacks
    except ImportError:
        return SumTreeReplay(size, seed)
    return TorchrlReplay(size, seed)


def rates(replay: Replay, size: int, turns: int, seed: int) -> dict[str, Any]:
    """Rows inserted and batches turned over a second, for a replay that is filled with `size` rows by the episode."""
    generator = np.random.default_rng(seed)
    observations = generator.standard_normal((_EPISODE, _OBSERVATION), dtype=np.float32)
    actions = generator.standard_normal((_EPISODE, _ACTION), dtype=np.float32)
    errors = generator.random((64, _BATCH), dtype=np.float32) + 1e-3
    began = time.perf_counter()
    for _ in range(size // _EPISODE):
        replay.insert(observations, actions)
    insert = time.perf_counter() - began
    replay.turn(errors[0])  # what is done once is not measured
    began = time.perf_counter()
    for turn in range(turns):
        replay.turn(errors[turn % len(errors)])
    sample = time.perf_counter() - began
    return {
        "replay": replay.name,
        "size": size,
        "insert_per_second": size // _EPISODE * _EPISODE / insert,
        "sample_batches_per_second": turns / sample,
    }


def replay(
    sizes: Annotated[str, typer.Option(help="Samples that are held, by commas.")] = "10000,100000,1000000",
    turns: Annotated[int, typer.Option(min=1, help="Batches drawn and given new priorities, at each size.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of rows, priorities and draws.")] = 0,
    memory: Annotated[bool, typer.Option("--memory", help="Measure memory instead, each in a fresh process.")] = False,
    states: Annotated[int, typer.Option(min=0, help="State samples, with --memory.")] = 1_000_000,
    images: Annotated[int, typer.Option(min=0, help="Images of 84x84x3, with --memory; they take disk.")] = 200_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Insert and sample rates of the prioritised replay, beside torchrl's, or a sum tree in numpy.

    Rows come by episodes of 100; a batch is 256 rows, drawn, copied out, and given new priorities. The figures are
    those of the largest size. torchrl is optional; its wheel has to fit the torch that is installed. With --memory: the
    largest resident size of a process that trains on so many state samples, and of one that draws from so many images.
    """
    if memory:
        _memory(states, images, seed, json_file)
        return
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.results import write_json

    held = [int(size) for size in sizes.split(",")]
    if not held or min(held) < _EPISODE:
        raise ValueError(f"sizes are {sizes}: give whole numbers of at least {_EPISODE}, one episode")
    rows = []
    for size in held:
        rows.append(rates(OwnReplay(seed), size, turns, seed))
        rows.append(rates(peer_of(size, seed), size, turns, seed))
    console, table = Console(), Table(title="prioritised replay, one thread of Python", title_justify="left")
    for name in ("samples held", "replay", "inserted a second", "batches a second"):
        table.add_column(name, justify="left" if name == "replay" else "right")
    for row in rows:
        values = (row["insert_per_second"], row["sample_batches_per_second"])
        table.add_row(f"{row['size']:,}", row["replay"], *(f"{value:,.0f}" for value in values))
    console.print(table)
    if rows[-1]["replay"] != TorchrlReplay.name:
        console.print("[dim]torchrl or its sum tree cannot be loaded here: one in numpy stands in its place.[/dim]")
    if json_file is not None:
        write_json(json_file, "bench replay", seed, _figures(rows, max(held)), rows=rows)


def _memory(states: int, images: int, seed: int, json_file: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.replay_memory import measure
    from physai_ros.cli.results import write_json

    if states % _EPISODE or not states + images:
        raise ValueError(f"states are {states}, images {images}: give whole episodes of {_EPISODE}, or images")
    rows = measure(states, images)
    table = Table(title="memory of a fresh process that trains and draws", title_justify="left")
    for name in ("replay", "samples", "largest resident [MB]", "on disk [MB]", "time [s]"):
        table.add_column(name, justify="left" if name == "replay" else "right")
    for row in rows:
        values = (row["samples"], row["peak_mb"], row["on_disk_mb"], row["seconds"])
        table.add_row(row["replay"], *(f"{value:,.0f}" for value in values))
    Console().print(table)
    if json_file is not None:
        names = {"states": "states", "states, resumed": "states_resumed", "images": "images"}
        figures = {f"{names[row['replay']]}_peak_mb": row["peak_mb"] for row in rows}
        write_json(json_file, "bench replay --memory", seed, figures, rows=rows)


def _figures(rows: list[dict[str, Any]], size: int) -> dict[str, float]:
    """The rates at one size."""
    figures = {}
    for row in rows:
        suffix = "" if row["replay"] == OwnReplay.name else "_peer"
        if row["size"] == size:
            for figure in ("insert_per_second", "sample_batches_per_second"):
                figures[figure + suffix] = row[figure]
    return figures
