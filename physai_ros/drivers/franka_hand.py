"""The Franka Hand: a thread of its own, for its commands and its state both block."""

from __future__ import annotations

import threading
from typing import Any

_SPEED = 0.1  # [m/s] of the fingers
_THINNEST = 0.002  # [m] of an object that is told from none
_PAUSE = 0.02  # [s] between two looks


class FrankaHand:
    """Opens and closes the hand to the sign of the newest gripper command, and knows its newest state.

    The hand has no set-point that could be streamed: above zero it opens fully, else it grasps whatever is there with
    `force` [N]. `client` is a `franky.Gripper`. A move is not interrupted; what was commanded last comes after it.
    """

    def __init__(self, client: Any, force: float) -> None:  # noqa: ANN401 - the vendor's class, imported lazily
        self.width = 0.0
        self.grasped = False
        self.error = ""
        self._client, self._force = client, force
        self._wanted: bool | None = None  # open?
        self._over = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._run, name="franka hand", daemon=True)
        self._thread.start()

    def command(self, gripper_command: float) -> None:
        """Take a command in -1 ... 1; returns at once."""
        self._wanted = gripper_command > 0.0

    def close(self) -> None:
        """End the thread; the hand keeps what it holds."""
        self._over.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        done: bool | None = None
        moving = None
        while not self._over.wait(_PAUSE):
            try:
                self._look()
                if moving is not None and moving.wait(0.0):
                    moving.get()
                    moving = None
                wanted = self._wanted
                if moving is None and wanted != done:
                    moving, done = self._begin(wanted), wanted
            except Exception as error:  # whatever the client raises, the arm must not suffer from it
                self.error, moving = str(error), None
                self._over.wait(0.5)

    def _begin(self, opening: bool) -> Any:  # noqa: ANN401 - a future of the vendor's
        widest = self._client.max_width
        if opening:
            return self._client.move_async(widest, _SPEED)
        # What is to be grasped is not known here: any width counts as held but that of fingers which meet each other.
        middle = widest / 2.0
        return self._client.grasp_async(middle, _SPEED, self._force, middle - _THINNEST, middle)

    def _look(self) -> None:
        state = self._client.state
        self.width, self.grasped = float(state.width), bool(state.is_grasped)
