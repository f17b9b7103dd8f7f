"""Processes that train one policy together: each takes its rows of every batch, all come to the same weights."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import distributed


class Ranks:
    """One process alone; `TorchRanks` is many. Both answer alike, so that a trainer need not ask which it has.

    What is chosen is chosen everywhere: pools, ledgers, gate and generator are the same in every process, because each
    sees every sample's loss. Only the forward and the backward pass are divided, and these are what costs.

    Attributes:
        number: of this process, from 0.
        count: of all processes.
    """

    number = 0
    count = 1

    def rows(self, size: int) -> slice:
        """Which rows of a batch of `size` are this process's."""
        return slice(self.number * size // self.count, (self.number + 1) * size // self.count)

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the sum of all processes' gradients."""

    def gather(self, rows: torch.Tensor, size: int) -> torch.Tensor:
        """The rows (size, ...) of all processes, in the order of the batch, given this process's own."""
        return rows

    def sum(self, value: float) -> float:
        """The sum of a number over all processes."""
        return value

    def first(self, value: float) -> float:
        """What process 0 says: for what is measured, such as time, and must be one thing for all."""
        return value

    def first_bytes(self, content: bytes) -> bytes:
        """What process 0 has read: for files that the others need not have."""
        return content

    def alike(self, number: int) -> bool:
        """Whether all processes give the same number, of up to 63 bits."""
        return True

    def close(self) -> None:
        """Leave the others."""


class TorchRanks(Ranks):
    """The processes that `torchrun` started, over gloo. Source: Li et al., "PyTorch distributed", 2020."""

    def __init__(self) -> None:
        """Join the others; waits until all are there.

        Raises:
            RuntimeError: `torchrun` did not start this process.
        """
        if "RANK" not in os.environ:
            raise RuntimeError("this process was not started by torchrun: run `torchrun --nproc-per-node N ...`")
        if not distributed.is_initialized():
            distributed.init_process_group("gloo")
        self.number = distributed.get_rank()
        self.count = distributed.get_world_size()

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the sum of all processes' gradients, in one message."""
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                # A process whose rows did not need this part must still take its turn in the sum.
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        begin = 0
        for gradient in gradients:
            gradient.copy_(flat[begin : begin + gradient.numel()].view_as(gradient))
            begin += gradient.numel()

    def gather(self, rows: torch.Tensor, size: int) -> torch.Tensor:
        """The rows (size, ...) of all processes, in the order of the batch, given this process's own."""
        whole = torch.zeros((size, *rows.shape[1:]), dtype=rows.dtype)
        whole[self.rows(size)] = rows
        # Every row is zero everywhere but in one process, so that the sum is exact and the same for all.
        distributed.all_reduce(whole)
        return whole

    def sum(self, value: float) -> float:
        """The sum of a number over all processes."""
        whole = torch.tensor([value], dtype=torch.float64)
        distributed.all_reduce(whole)
        return float(whole)

    def first(self, value: float) -> float:
        """What process 0 says."""
        whole = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(whole, 0)
        return float(whole)

    def first_bytes(self, content: bytes) -> bytes:
        """What process 0 has read."""
        size = torch.tensor([len(content)])
        distributed.broadcast(size, 0)
        if self.number == 0:
            whole = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0).byte()
        else:
            whole = torch.empty(int(size), dtype=torch.uint8)
        if len(whole):
            distributed.broadcast(whole, 0)
        return whole.numpy().tobytes()

    def alike(self, number: int) -> bool:
        """Whether all processes give the same number."""
        extremes = torch.tensor([number, -number])
        distributed.all_reduce(extremes, distributed.ReduceOp.MAX)
        return int(extremes[0]) == -int(extremes[1])

    def close(self) -> None:
        """Leave the others."""
        distributed.destroy_process_group()


def ranks() -> Ranks:
    """The processes of `torchrun`, or this one alone where it was started without."""
    return TorchRanks() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Ranks()
