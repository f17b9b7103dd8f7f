"""Servo registers: numbers and signs as the memory table has them, whoever carries the bytes."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.drivers.feetech_bus import GOAL, TORQUE, FeetechBus, errors_of


class Memory:
    """Carries bytes as rustypot does, to and from servos that are nothing but memory."""

    def __init__(self, ids: list[int]) -> None:
        self.memory = {number: bytearray(128) for number in ids}
        self.errors = dict.fromkeys(ids, 0)
        self.failures = 0

    def sync_read_raw_data_with_error(self, ids, address, length):
        """Raise as often as told, then read."""
        if self.failures:
            self.failures -= 1
            raise RuntimeError("checksum")
        return [(list(self.memory[i][address : address + length]), self.errors[i]) for i in ids]

    def sync_write_raw_data(self, ids, address, data):
        """Write to each its own."""
        for number, values in zip(ids, data, strict=True):
            self.memory[number][address : address + len(values)] = bytes(values)

    def write_raw_data(self, number, address, data):
        """Write to one; 3 does not acknowledge."""
        if number == 3:
            raise RuntimeError("timeout")
        self.memory[number][address : address + len(data)] = bytes(data)

    def ping(self, number):
        """Everybody answers but 3."""
        return number != 3


@settings(deadline=None)
@given(
    position=st.integers(-4095, 4095),
    velocity=st.integers(-4000, 4000),
    load=st.integers(-1000, 1000),
    status=st.integers(0, 255),
)
def test_signs_are_bits_of_their_own(position, velocity, load, status):
    wire = Memory([5])
    raw = [abs(number) | (bit if number < 0 else 0) for number, bit in ((position, 1 << 15), (velocity, 1 << 15))]
    wire.memory[5][56:62] = struct.pack("<HHH", *raw, abs(load) | (1 << 10 if load < 0 else 0))
    wire.errors[5] = status
    present = FeetechBus(wire, [5]).present()
    assert (present.positions[0], present.velocities[0], present.errors[0]) == (position, velocity, status)
    assert present.loads[0] == pytest.approx(load / 1000)


def test_goals_go_to_the_first_servos_in_order():
    wire = Memory([1, 2, 6])
    FeetechBus(wire, [1, 2, 6]).write(GOAL, np.array([100, 4000]))
    assert [struct.unpack_from("<H", wire.memory[i], GOAL)[0] for i in (1, 2, 6)] == [100, 4000, 0]


def test_two_garbled_answers_are_asked_for_again_and_three_are_not():
    wire = Memory([1])
    bus = FeetechBus(wire, [1])
    wire.failures = 2
    assert bus.present().positions[0] == 0
    wire.failures = 3
    with pytest.raises(RuntimeError, match="checksum"):
        bus.present()


def test_power_is_taken_off_all_whose_neighbour_is_silent():
    wire = Memory([2, 3, 4])
    for memory in wire.memory.values():
        memory[TORQUE] = 1
    bus = FeetechBus(wire, [2, 3, 4])
    assert bus.silent() == [3]
    with pytest.raises(RuntimeError, match="timeout"):
        bus.power(on=False)
    assert [wire.memory[i][TORQUE] for i in (2, 3, 4)] == [0, 1, 0]


@pytest.mark.parametrize(
    ("status", "text"), [(32, "overload"), (5, "voltage, temperature"), (8, "current"), (64, "status 0x40")]
)
def test_status_bytes_have_names(status, text):
    assert errors_of(status) == text
