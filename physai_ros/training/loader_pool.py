"""A user's data set as a pool of samples: fetched by index, judged before they are used, never iterated over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader

from physai_ros.training.gate import GateConfig
from physai_ros.training.replay import SampleLedger
from physai_ros.training.samplers import Draw, make_sampler
from physai_ros.training.significance import SignificanceConfig

Inputs = torch.Tensor | Mapping[str, torch.Tensor]
Sample = tuple[Inputs, torch.Tensor]
"""Inputs and target, of one sample or, with a first axis, of a batch."""

Shapes = tuple[tuple[int, ...], ...]
Judge = Callable[[object], tuple[Shapes, str]]

_PROXY_INPUTS = 256  # numbers of a sample that the proxy looks at, at most


class LoaderPool:
    """The data sets of two loaders: one to train on, one that nothing trains on.

    A sample that is not finite, or is shaped unlike the first good one, is quarantined with a reason when it is first
    met, and a good one takes its place from then on. A data set may tell what the body said of its samples by a method
    `physical_feedback() -> (failure_time, force_excess, intervention_age)`, each (n,), as `SampleLedger.append` takes.

    Raises:
        ValueError: the training data set is empty or has no length, or no sample of it can be used.
    """

    def __init__(
        self,
        train_loader: DataLoader[Any],
        val_loader: DataLoader[Any] | None,
        sampler: str,
        gate: GateConfig,
        significance: SignificanceConfig,
        *,
        proxy: bool,
    ) -> None:
        if not hasattr(train_loader.dataset, "__len__") or not len(cast(Sized, train_loader.dataset)):
            raise ValueError(
                "the training data set is empty or has no length: give one that is indexed from 0 to n - 1"
            )
        self.ledger = SampleLedger()
        self.quarantined: list[str] = []
        self._data = train_loader.dataset
        self._collate: Callable[[list[Any]], Sample] = train_loader.collate_fn
        self._held_out = None if val_loader is None else val_loader.dataset
        self._count = len(cast(Sized, self._data))
        self._bad: set[tuple[bool, int]] = set()
        self._shape: object = None
        self._spare = next((index for index in range(self._count) if self._sample(index, _judge) is not None), -1)
        if self._spare < 0:
            raise ValueError(f"none of {self._count} samples can be used; the first: {self.quarantined[0]}")
        self.ledger.append(*self._physical_feedback())
        self.sampler = make_sampler(sampler, self.ledger, gate, significance, self._observed if proxy else None)

    def __len__(self) -> int:
        return self._count

    @property
    def held_out_count(self) -> int:
        """Samples that nothing trains on."""
        return 0 if self._held_out is None else len(cast(Sized, self._held_out))

    def draw(self, count: int, generator: np.random.Generator, *, uniform: bool) -> Draw:
        """About `count` samples by the sampler, or uniform ones in its place."""
        if uniform:
            return self.sampler.draw_uniform(count, generator)
        return self.sampler.draw(count, generator)

    def batch(self, rows: np.ndarray) -> Sample:
        """The samples `rows` (b,); what is quarantined is replaced by a good one."""
        return self._collated(rows, held_out=False)

    def held_out_batch(self, rows: np.ndarray) -> Sample:
        """Held-out samples `rows` (b,), without those that cannot be used."""
        return self._collated(rows, held_out=True)

    def _collated(self, rows: np.ndarray, *, held_out: bool) -> Sample:
        """The batch. Shapes are compared sample by sample, numbers all at once, and one by one only if some are bad."""
        for judge in (_shapes_of, _judge):
            samples = [self._sample(int(row), judge, held_out=held_out) for row in rows]
            if held_out:
                samples = [sample for sample in samples if sample is not None] or [None]
            whole = [self._sample(self._spare, judge) if sample is None else sample for sample in samples]
            batch = self._collate(whole)
            if _all_finite(_columns(batch)):
                break
        return batch

    def _sample(self, index: int, judge: Judge, *, held_out: bool = False) -> Any:  # noqa: ANN401 what the set holds
        """The sample, or None where it is quarantined."""
        if (held_out, index) in self._bad:
            return None
        sample = (self._held_out if held_out else self._data)[index]
        shape, reason = judge(sample)
        if not reason and self._shape is not None and shape != self._shape:
            reason = f"it has shapes {shape}, expected {self._shape}"
        if reason:
            self._bad.add((held_out, index))
            self.quarantined.append(f"{'validation' if held_out else 'training'} sample {index}: {reason}")
            return None
        self._shape = self._shape or shape
        return sample

    def _physical_feedback(self) -> Sequence[np.ndarray]:
        if hasattr(self._data, "physical_feedback"):
            return self._data.physical_feedback()
        never = np.full(self._count, np.inf)
        return never, np.zeros(self._count), never

    def _observed(self, rows: np.ndarray) -> np.ndarray:
        """What the proxy sees (n, k) of samples: some numbers of inputs and target, evenly spaced."""
        flat = torch.cat([column.reshape(len(rows), -1).float() for column in _columns(self.batch(rows))], dim=1)
        return flat[:, :: max(flat.shape[1] // _PROXY_INPUTS, 1)].numpy()


def _columns(sample: object) -> list[torch.Tensor]:
    inputs, target = cast(Sample, sample)
    columns = [*(inputs.values() if isinstance(inputs, Mapping) else [inputs]), target]
    return [torch.as_tensor(column) for column in columns]


def _all_finite(tensors: list[torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor.is_floating_point())


def _shapes_of(sample: object) -> tuple[Shapes, str]:
    """Shapes of a sample's tensors, and why it cannot be used; empty where it can, as far as shapes tell."""
    try:
        return tuple(tuple(tensor.shape) for tensor in _columns(sample)), ""
    except (TypeError, ValueError, RuntimeError) as error:
        return (), f"it is no pair of inputs and target ({error})"


def _judge(sample: object) -> tuple[Shapes, str]:
    """As `_shapes_of`, and looks at the numbers too."""
    shapes, reason = _shapes_of(sample)
    if not reason and not _all_finite(_columns(sample)):
        reason = "it holds numbers that are not finite"
    return shapes, reason
