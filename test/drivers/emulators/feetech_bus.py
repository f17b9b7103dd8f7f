"""Six Feetech STS3215 servos on a pseudo terminal: the vendor's protocol byte by byte, and its faults on demand.

Prints the name of the terminal, then answers every line on its standard input with one of its own:

    drop ID | heal ID           do not answer any more | have no fault any more
    status ID BYTE              report this status byte in every answer
    garble ID COUNT             send that many answers with a wrong checksum
    get ID ADDRESS SIZE         say what a register holds
    put ID ADDRESS SIZE VALUE   change what it holds
    goals                       JSON list of the goals of all servos, each time that they were told some

Servos are first-order: they go to their goal at most at their speed limit, while their torque is on.
Source: Feetech, "Smart servo communication protocol" and "STS3215 memory table".
"""

from __future__ import annotations

import json
import os
import pty
import struct
import sys
import threading
import time
import tty

PING, READ, WRITE, REGISTERED_WRITE, SYNC_READ, SYNC_WRITE = 1, 2, 3, 4, 0x82, 0x83
TORQUE, GOAL, SPEED, STATUS, PRESENT = 40, 42, 46, 65, 56
BROADCAST = 254
FASTEST = 3400.0  # [step/s]
LAG = 0.03  # [s] by which a servo is behind its goal


class Servo:
    """One servo: its memory, where it stands, and what is wrong with it."""

    def __init__(self, number: int) -> None:
        self.memory = bytearray(128)
        self.position, self.velocity = 2048.0, 0.0
        self.dropped, self.status, self.garbled = False, 0, 0
        self.memory[0:6] = bytes([3, 10, 0, 9, 3, number])  # firmware, model 777, id
        struct.pack_into("<HH", self.memory, 9, 0, 4095)
        struct.pack_into("<H", self.memory, GOAL, 2048)
        struct.pack_into("<H", self.memory, 48, 1000)
        self.memory[62:64] = bytes([74, 30])  # 7.4 V, 30 degrees
        self.move(0.0)

    def move(self, duration: float) -> None:
        """Go towards the goal for `duration` [s], and say in the memory where that led."""
        (goal,) = struct.unpack_from("<H", self.memory, GOAL)
        fastest = struct.unpack_from("<H", self.memory, SPEED)[0] or FASTEST
        wanted = (goal - self.position) / LAG if self.memory[TORQUE] else 0.0
        self.velocity = max(-fastest, min(fastest, wanted))
        self.position += self.velocity * duration
        speed = round(abs(self.velocity)) | (0x8000 if self.velocity < 0 else 0)
        struct.pack_into("<HH", self.memory, PRESENT, round(self.position) & 0xFFFF, speed)
        self.memory[STATUS], self.memory[66] = self.status, abs(self.velocity) > 1.0


class Bus:
    """All servos, and the wire that they share."""

    def __init__(self, numbers: range) -> None:
        self.servos = {number: Servo(number) for number in numbers}
        self.goals: list[list[int]] = []
        self.lock = threading.Lock()
        self.wire, terminal = pty.openpty()
        tty.setraw(self.wire)
        tty.setraw(terminal)
        self.name = os.ttyname(terminal)

    def serve(self) -> None:
        """Answer packets until the terminal is gone."""
        waiting = b""
        while True:
            waiting += os.read(self.wire, 4096)
            while (start := waiting.find(b"\xff\xff")) >= 0 and len(waiting) >= start + 4:
                number, length = waiting[start + 2], waiting[start + 3]
                end = start + 4 + length
                if len(waiting) < end:
                    break
                packet, waiting = waiting[start + 4 : end], waiting[end:]
                if (number + length + sum(packet)) & 0xFF == 0xFF:  # the sum of all and the checksum
                    with self.lock:
                        self.obey(number, packet[0], packet[1:-1])

    def obey(self, number: int, instruction: int, arguments: bytes) -> None:
        """Do what one packet asks for."""
        servo = self.servos.get(number)
        if instruction == PING:
            for each in self.servos if number == BROADCAST else [number]:
                self.answer(each)
        elif instruction == SYNC_READ:
            address, size = arguments[:2]
            for each in arguments[2:]:
                self.answer(each, address, size)
        elif instruction == SYNC_WRITE:
            address, size = arguments[:2]
            for start in range(2, len(arguments), size + 1):
                each = self.servos.get(arguments[start])
                if each is not None and not each.dropped:
                    each.memory[address : address + size] = arguments[start + 1 : start + 1 + size]
            if address == GOAL:
                self.goals.append([struct.unpack_from("<H", s.memory, GOAL)[0] for s in self.servos.values()])
        elif servo is not None and instruction == READ:
            self.answer(number, *arguments)
        elif servo is not None and instruction in (WRITE, REGISTERED_WRITE) and not servo.dropped:
            servo.memory[arguments[0] : arguments[0] + len(arguments) - 1] = arguments[1:]
            self.answer(number)

    def answer(self, number: int, address: int = 0, size: int = 0) -> None:
        """Send the status packet of one servo, with what it was asked to read."""
        servo = self.servos.get(number)
        if servo is None or servo.dropped:
            return
        body = bytes([number, size + 2, servo.status]) + bytes(servo.memory[address : address + size])
        checksum = ~sum(body) & 0xFF
        if servo.garbled:
            servo.garbled -= 1
            checksum ^= 0x55
        os.write(self.wire, b"\xff\xff" + body + bytes([checksum]))

    def move(self) -> None:
        """Let time pass, for ever."""
        before = time.monotonic()
        while True:
            time.sleep(0.002)
            now = time.monotonic()
            with self.lock:
                for servo in self.servos.values():
                    servo.move(now - before)
            before = now

    def told(self, line: str) -> str:
        """What to say to one line of the standard input."""
        if line == "goals":
            with self.lock:
                return json.dumps(self.goals)
        what, number, *values = line.split()
        servo, numbers = self.servos[int(number)], [int(value) for value in values]
        with self.lock:
            if what == "get":
                address, size = numbers
                return str(int.from_bytes(servo.memory[address : address + size], "little"))
            if what == "put":
                address, size, value = numbers
                servo.memory[address : address + size] = value.to_bytes(size, "little")
            elif what == "drop":
                servo.dropped = True
            elif what == "status":
                servo.status = numbers[0]
            elif what == "garble":
                servo.garbled = numbers[0]
            elif what == "heal":
                servo.dropped, servo.status, servo.garbled = False, 0, 0
            else:
                return f"unknown: {what}"
        return "done"


def main() -> None:
    """Serve until the standard input ends."""
    bus = Bus(range(1, 7))
    for work in (bus.serve, bus.move):
        threading.Thread(target=work, daemon=True).start()
    print(bus.name, flush=True)
    for line in sys.stdin:
        print(bus.told(line.strip()), flush=True)


if __name__ == "__main__":
    main()
