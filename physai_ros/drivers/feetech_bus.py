"""The registers of Feetech STS3215 servos on one serial bus, by `rustypot`.

Source: Feetech, "STS3215 memory table"; Feetech, "Smart servo communication protocol".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

STEP = 2.0 * np.pi / 4096.0
"""One step of the encoder [rad]."""

MODEL = 777
"""Model number of an STS3215."""

TORQUE, GOAL, SPEED, TORQUE_LIMIT = 40, 42, 46, 48
"""Addresses: torque on or off; goal position [step]; speed limit [step/s]; torque limit [1/1000]."""

_MODEL_NUMBER, _PRESENT, _PRESENT_SIZE = 3, 56, 6
_ATTEMPTS = 3  # a garbled answer is asked for again

_ERRORS = {0: "voltage", 1: "angle sensor", 2: "temperature", 3: "current", 5: "overload"}


class Present(NamedTuple):
    """What servos report of themselves, arrays (n,) in the order asked for.

    `positions` [step], `velocities` [step/s], `loads` as shares of the stall torque, `errors` as status bytes.
    """

    positions: np.ndarray
    velocities: np.ndarray
    loads: np.ndarray
    errors: np.ndarray


class FeetechBus:
    """Servos `ids` on a bus that `controller`, a `rustypot.Sts3215PyController`, has open.

    Every call raises what rustypot raises where a servo does not answer, or garbles what it says.
    """

    def __init__(self, controller: Any, ids: Sequence[int]) -> None:  # noqa: ANN401 - the vendor's, imported lazily
        self._controller = controller
        self.ids = list(ids)

    def silent(self) -> list[int]:
        """Ids of servos that do not answer."""
        return [number for number in self.ids if not self._answers(number)]

    def model(self, number: int) -> int:
        """Model number of a servo."""
        return int.from_bytes(bytes(self._controller.read_raw_data(number, _MODEL_NUMBER, 2)), "little")

    def present(self) -> Present:
        """Position, speed, load and status of all servos, in one transaction."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                answers = self._controller.sync_read_raw_data_with_error(self.ids, _PRESENT, _PRESENT_SIZE)
                break
            except Exception:
                if not left:
                    raise
        words = np.array([np.frombuffer(bytes(data), dtype="<u2") for data, _ in answers], dtype=int)
        errors = np.array([error for _, error in answers], dtype=int)
        return Present(_signed(words[:, 0], 15), _signed(words[:, 1], 15), _signed(words[:, 2], 10) / 1000.0, errors)

    def write(self, address: int, values: Sequence[int]) -> None:
        """Write one number of two bytes to each of the first servos, at once; nobody acknowledges it."""
        data = [list(int(value).to_bytes(2, "little")) for value in values]
        self._controller.sync_write_raw_data(self.ids[: len(data)], address, data)

    def power(self, on: bool) -> None:
        """Switch all motors on or off; all are tried before the first that does not acknowledge it is raised."""
        failure: Exception | None = None
        for number in self.ids:
            try:
                self._controller.write_raw_data(number, TORQUE, [int(on)])
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Release the port."""
        self._controller.close()

    def _answers(self, number: int) -> bool:
        try:
            return bool(self._controller.ping(number))
        except Exception:  # whatever it raises, it is no answer
            return False


def errors_of(status: int) -> str:
    """Names of the errors in a status byte, as `overload, temperature`."""
    named = [name for bit, name in _ERRORS.items() if status >> bit & 1]
    return ", ".join(named) or f"status {status:#04x}"


def _signed(words: np.ndarray, bit: int) -> np.ndarray:
    """Numbers whose sign is a bit of their own."""
    return np.where(words >> bit & 1, -(words & ((1 << bit) - 1)), words & ((1 << bit) - 1))
