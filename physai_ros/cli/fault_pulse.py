"""Whether the machine itself was late while something was measured: then the figure says nothing of the graph."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType

_PERIOD = 0.005  # [s]
DISTURBED = 0.03
"""Lateness of a thread that only sleeps from which on what was measured meanwhile is measured again [s]."""


class Pulse:
    """A thread that sleeps for 5 ms at a time and remembers when it was woken late."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque(maxlen=10_000)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=1.0)

    def lateness(self, begin: float, end: float) -> float:
        """Largest lateness [s] of a wake-up between two instants on the steady clock [s], 0 where all were in time."""
        return max((late for woken, late in list(self._late) if woken >= begin and woken - late <= end), default=0.0)

    def _beat(self) -> None:
        before = time.monotonic()
        while not self._over.is_set():
            time.sleep(_PERIOD)
            now = time.monotonic()
            if now - before - _PERIOD > 0.5 * DISTURBED:
                self._late.append((now, now - before - _PERIOD))
            before = now
