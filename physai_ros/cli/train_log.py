"""What `physai train` shows while it works: a bar with rates on the screen, curves for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physai_ros.training.offline import Progress
    from physai_ros.training.trainer import SparseTrainer

_EVERY = 20  # updates between two looks


class TrainingBar:
    """A bar on standard error: share of the budget, time left, updates and samples a second, loss, activation."""

    def __init__(self, trainer: SparseTrainer) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        state = TextColumn("{task.fields[state]}")
        columns = (TextColumn("Training"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), state)
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar = self._progress.add_task("", total=1.0, state="")
        self._trainer = trainer
        self._looked = (time.monotonic(), trainer.counters.updates, trainer.counters.backward)

    def __enter__(self) -> TrainingBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, progress: Progress) -> None:
        """Take in an update."""
        counters = self._trainer.counters
        if counters.updates % _EVERY:
            return
        before, updates, samples = self._looked
        now = time.monotonic()
        self._looked = (now, counters.updates, counters.backward)
        seconds = max(now - before, 1e-6)
        rates = f"{(counters.updates - updates) / seconds:,.0f} steps/s, {(counters.backward - samples) / seconds:,.0f}"
        state = f"{rates} samples/s, loss {self._trainer.loss:.4f}, activation {counters.activation_rate:.1%}"
        self._progress.update(self._bar, completed=progress.share, state=state)


class EventLog:
    """Curves of a run as event files that TensorBoard opens; a run that is resumed goes on in the same curves.

    Raises:
        OSError: the folder cannot be written to.
        RuntimeError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, trainer: SparseTrainer) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise RuntimeError("event files need tensorboardX: run pip install tensorboardX") from error

        self._trainer = trainer
        # What a killed run logged after its last state is done again: TensorBoard drops the first of the two.
        # Files are named by the second, in which a short run may end and be gone on with: the step tells them apart.
        step = trainer.counters.updates
        self._writer = SummaryWriter(str(folder), purge_step=step, filename_suffix=f".{step}")

    def write(self, progress: Progress) -> None:
        """Take in an update."""
        counters, step = self._trainer.counters, self._trainer.counters.updates
        put: Callable[[str, float, int], None] = self._writer.add_scalar
        if progress.held_out_loss is not None:
            put("loss/held_out", progress.held_out_loss, step)
        if step % _EVERY:
            return
        put("loss/actions", self._trainer.loss, step)
        if progress.stats.value_loss == progress.stats.value_loss:
            put("loss/value", progress.stats.value_loss, step)
        put("optimiser/learning_rate", progress.learning_rate, step)
        put("samples/activation_rate", progress.stats.backward / max(progress.stats.offered, 1), step)
        put("samples/backward", counters.backward, step)
        put("cost/cpu_seconds", counters.cpu_seconds, step)
        put("cost/selection_share", counters.selection_seconds / max(counters.cpu_seconds, 1e-9), step)

    def close(self) -> None:
        """Write out everything."""
        self._writer.close()
