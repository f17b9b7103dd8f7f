"""A Universal Robots controller on 127.0.0.1, as far as ur_rtde needs one: RTDE, dashboard and script port.

Usage: python ur_controller.py [--model UR5] [--polyscope 5.11.0] [--local]

Prints `ready`, then answers every line on its standard input with one of its own:

    protective_stop | emergency_stop | release     what happens to the arm; release ends an emergency stop, power off
    power_on                                       power and brakes, as on the pendant
    report                                         one JSON object: positions, inputs and commands by name, watchdog
    targets                                        JSON list of servoj's targets since it was asked last

The control script that the client uploads is not interpreted: a loop here obeys its registers as it would. The arm is
six joints that follow at limited acceleration. Motion and watchdog count on the controller's own clock, so a machine
that is busy with other things makes the robot slow, and nothing else. Sources: Universal Robots, "RTDE guide" (packets,
safety modes), "Dashboard server e-Series"; register use of ur_rtde's control script.
"""

from __future__ import annotations

import argparse
import json
import math
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

HOST = "127.0.0.1"
RTDE, DASHBOARD, SCRIPTS = 30004, 29999, (30001, 30002, 30003)
STEP = 0.002  # [s]
UNLOCK_AFTER = 5.0  # [s]
SERVO_ACCELERATION, STOP_ACCELERATION = 40.0, 10.0  # [rad/s^2]

NORMAL, PROTECTIVE_STOP, EMERGENCY_STOP = 1, 3, 7
RUNNING, POWER_OFF = 7, 3

# Numbers that ur_rtde writes into its command register.
NOTHING, SPEEDJ, SERVOJ, SPEED_STOP, SERVO_STOP, SET_WATCHDOG, WATCHDOG, STOP_SCRIPT = 0, 9, 11, 15, 16, 35, 99, 255
NAMES = {
    SPEEDJ: "speedj",
    SERVOJ: "servoj",
    SPEED_STOP: "speed_stop",
    SERVO_STOP: "servo_stop",
    SET_WATCHDOG: "set_watchdog",
    WATCHDOG: "kick",
    STOP_SCRIPT: "stop_script",
}
STREAMING = (SPEEDJ, SERVOJ)
READY, DONE = 1, 2  # what the script answers in its output register

FORMATS = {
    "UINT8": "B",
    "INT32": "i",
    "UINT32": "I",
    "UINT64": "Q",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
}
VECTORS = (
    "actual_q",
    "target_q",
    "actual_TCP",
    "target_TCP",
    "actual_current",
    "target_moment",
    "target_current",
    "joint_temp",
    "joint_control",
    "actual_joint_voltage",
    "ft_raw",
    "joint_position_deltas",
    "tcp_offset",
    "external_force_torque",
)


def type_of(name: str) -> str:
    """RTDE type of a variable, as in the RTDE guide's tables."""
    if "int_register" in name or name in ("robot_mode", "safety_mode", "safety_status"):
        return "INT32"
    if name == "joint_mode":
        return "VECTOR6INT32"
    if name in ("actual_tool_accelerometer", "elbow_position", "payload_cog"):
        return "VECTOR3D"
    if name.endswith("digital_input_bits") or name.endswith("digital_output_bits"):
        return "UINT64"
    if "status_bits" in name or name in ("runtime_state", "speed_slider_mask", "analog_io_types", "tool_output_mode"):
        return "UINT32"
    if "bit_registers" in name:
        return "UINT32"
    if "digital_output" in name or "analog_output_mask" in name or "analog_output_type" in name:
        return "UINT8"
    if name.startswith(VECTORS):
        return "VECTOR6D"
    return "DOUBLE"


class Controller:
    """Arm, safety and control script of one robot."""

    def __init__(self, model: str, polyscope: str, *, remote: bool) -> None:
        self.model, self.polyscope, self.remote = model, polyscope, remote
        self.lock = threading.RLock()
        self.positions = [0.0, -1.57, 1.57, -1.57, -1.57, 0.0]
        self.velocities = [0.0] * 6
        self.targets = list(self.positions)
        self.motion = "rest"  # or servo, speed, stop
        self.acceleration, self.until = STOP_ACCELERATION, math.inf
        self.safety, self.mode, self.stopped_at = NORMAL, RUNNING, -math.inf
        self.program = False
        self.integers, self.doubles = [0] * 48, [0.0] * 48  # input registers
        self.answer = 0  # output register 0
        self.counted: Counter[str] = Counter()
        self.streamed: list[list[float]] = []
        self.time = 0.0  # [s] on the controller's clock
        self.watchdog, self.heard = 0.0, self.time

    def move(self) -> None:
        """Let time pass, for ever."""
        due = time.monotonic()
        while True:
            due = max(due + STEP, time.monotonic() - 0.05)
            time.sleep(max(due - time.monotonic(), 0.0))
            with self.lock:
                self.time += STEP
                self._watch()
                self._step()

    def run_script(self) -> None:
        """Obey the command register as ur_rtde's script does, for ever."""
        while True:
            time.sleep(0.0005)
            with self.lock:
                if self.program:
                    self._obey(self.integers[0])

    def hear(self, names: list[str], values: list[float]) -> None:
        """Take what a client writes into input registers."""
        with self.lock:
            self.heard = self.time
            self.counted["input"] += 1
            for name, value in zip(names, values, strict=True):
                place = self.integers if "int_register" in name else self.doubles
                if name.startswith("input_"):
                    place[int(name.rsplit("_", 1)[1])] = value
            if self.program and self.integers[0] in STREAMING:
                self._obey(self.integers[0])  # before the next one overwrites it

    def upload(self) -> None:
        """Start the control script that a client has sent."""
        with self.lock:
            if self.safety == NORMAL and self.mode == RUNNING:
                self.integers[0], self.answer, self.watchdog, self.program = NOTHING, READY, 0.0, True

    def value(self, name: str) -> float | list[float]:
        """What RTDE says under a name; what the driver does not look at is zero."""
        if name == "output_int_register_0":
            return self.answer
        bits = {NORMAL: 1, PROTECTIVE_STOP: 1 << 2, EMERGENCY_STOP: 1 << 6}
        known = {
            "timestamp": self.time,
            "actual_q": self.positions,
            "actual_qd": self.velocities,
            "target_q": self.targets,
            "target_qd": self.velocities,
            "robot_mode": self.mode,
            "safety_mode": self.safety,
            "robot_status_bits": 1 | (2 if self.program else 0),
            "safety_status_bits": bits[self.safety],
            "runtime_state": 2 if self.program else 1,
            "speed_scaling": 1.0,
            "target_speed_fraction": 1.0,
        }
        count = FORMATS[type_of(name)]
        return known.get(name, [0] * int(count[0]) if count[0].isdigit() else 0)

    def dashboard(self, line: str) -> str:
        """Answer of the dashboard server."""
        with self.lock:
            if line == "unlock protective stop":
                return self._unlock()
            if line == "stop":
                self.program = False
                return "Stopped"
            return {
                "get robot model": self.model,
                "get serial number": "20195500000",
                "PolyscopeVersion": f"URSoftware {self.polyscope}.108249 (Nov 09 2021)",
                "is in remote control": str(self.remote).lower(),
                "robotmode": "Robotmode: " + {RUNNING: "RUNNING", POWER_OFF: "POWER_OFF"}[self.mode],
                "safetystatus": "Safetystatus: "
                + {NORMAL: "NORMAL", PROTECTIVE_STOP: "PROTECTIVE_STOP", EMERGENCY_STOP: "ROBOT_EMERGENCY_STOP"}[
                    self.safety
                ],
                "running": f"Program running: {str(self.program).lower()}",
                "close safety popup": "closing safety popup",
                "programState": "PLAYING rtde_control" if self.program else "STOPPED rtde_control",
            }.get(line, f'could not understand: "{line}"')

    def told(self, line: str) -> str:
        """What to say to one line of the standard input."""
        with self.lock:
            if line == "report":
                return json.dumps(
                    {
                        "positions": self.positions,
                        "velocities": self.velocities,
                        "commands": self.counted,
                        "watchdog": self.watchdog,
                        "program": self.program,
                    }
                )
            if line == "targets":
                targets, self.streamed = self.streamed, []
                return json.dumps(targets)
            if line in ("protective_stop", "emergency_stop"):
                self.safety = PROTECTIVE_STOP if line == "protective_stop" else EMERGENCY_STOP
                self.mode = RUNNING if line == "protective_stop" else POWER_OFF
                self.program, self.motion, self.stopped_at = False, "stop", time.monotonic()
            elif line == "release":
                self.safety = NORMAL
            elif line == "power_on":
                self.mode = RUNNING
            else:
                return f"unknown: {line}"
        return "done"

    def _unlock(self) -> str:
        if self.safety != PROTECTIVE_STOP:
            return "Protective stop releasing"
        if time.monotonic() - self.stopped_at < UNLOCK_AFTER:
            return (
                "Cannot unlock protective stop until 5s after occurrence. Always inspect cause of protective stop "
                "before unlocking"
            )
        self.safety = NORMAL
        return "Protective stop releasing"

    def _watch(self) -> None:
        """End the script where a watchdog has been set and nothing was heard for its time."""
        if self.program and self.watchdog and self.time - self.heard > 1.0 / self.watchdog:
            self.program, self.motion = False, "stop"
            self.counted["watchdog_stop"] += 1

    def _obey(self, command: int) -> None:
        if command == NOTHING:
            self.answer = READY
            return
        streaming = command in STREAMING
        if self.answer != READY and not streaming:
            return  # answered already; the client has not taken the command back yet
        self.counted[NAMES.get(command, str(command))] += 1
        first = self.doubles
        if command == SERVOJ:
            self.targets, self.motion = first[:6], "servo"
            self.streamed.append(self.targets)
        elif command == SPEEDJ:
            self.targets, self.motion, self.acceleration = first[:6], "speed", first[6] or 1.0
            self.until = self.time + first[7] if first[7] else math.inf
        elif command in (SPEED_STOP, SERVO_STOP):
            self.motion, self.acceleration = "stop", first[0] or STOP_ACCELERATION
        elif command == SET_WATCHDOG:
            self.watchdog = first[0]
        elif command == STOP_SCRIPT:
            self.program, self.motion = False, "stop"
        self.answer = READY if streaming else DONE
        if streaming:
            self.integers[0] = NOTHING  # one register write is one command here

    def _step(self) -> None:
        if self.motion == "speed" and self.time > self.until:
            self.motion = "stop"
        for i in range(6):
            wanted, most = 0.0, STOP_ACCELERATION
            if self.motion == "servo":
                wanted, most = (self.targets[i] - self.positions[i]) / 0.03, SERVO_ACCELERATION
            elif self.motion == "speed":
                wanted, most = self.targets[i], self.acceleration
            change = wanted - self.velocities[i]
            self.velocities[i] += max(-most * STEP, min(most * STEP, change))
            self.positions[i] += self.velocities[i] * STEP


class Rtde:
    """One RTDE connection, protocol version 2."""

    def __init__(self, connection: socket.socket, controller: Controller) -> None:
        self.connection, self.controller = connection, controller
        self.outputs: list[list[str]] = []
        self.inputs: list[list[str]] = []
        self.rate = 500.0
        self.going = False
        self.sending = threading.Lock()

    def serve(self) -> None:
        """Answer packets until the client goes away."""
        try:
            while True:
                size, kind = struct.unpack(">HB", self._receive(3))
                self._answer(kind, self._receive(size - 3))
        except OSError:
            self.going = False

    def _answer(self, kind: int, body: bytes) -> None:
        if kind == 86:  # protocol version
            self._send(kind, b"\x01")
        elif kind == 118:  # controller version
            self._send(kind, struct.pack(">4I", *[int(n) for n in self.controller.polyscope.split(".")], 0))
        elif kind == 79:  # output recipe
            (self.rate,) = struct.unpack(">d", body[:8])
            self.outputs.append(_names(body[8:]))
            self._send(kind, bytes([len(self.outputs)]) + ",".join(map(type_of, self.outputs[-1])).encode())
        elif kind == 73:  # input recipe
            self.inputs.append(_names(body))
            self._send(kind, bytes([len(self.inputs)]) + ",".join(map(type_of, self.inputs[-1])).encode())
        elif kind == 83:  # start
            self._send(kind, b"\x01")
            self.going = True
            threading.Thread(target=self._publish, daemon=True).start()
        elif kind == 80:  # pause
            self.going = False
            self._send(kind, b"\x01")
        elif kind == 85:  # data of an input recipe
            names = self.inputs[body[0] - 1]
            values, place = [], 1
            for name in names:
                layout = ">" + FORMATS[type_of(name)]
                values.append(struct.unpack_from(layout, body, place)[0])
                place += struct.calcsize(layout)
            self.controller.hear(names, values)

    def _publish(self) -> None:
        due = time.monotonic()
        while self.going:
            for number, names in enumerate(self.outputs, start=1):
                body = bytes([number])
                with self.controller.lock:
                    for name in names:
                        value = self.controller.value(name)
                        values = value if isinstance(value, list) else [value]
                        body += struct.pack(">" + FORMATS[type_of(name)], *values)
                try:
                    self._send(85, body)
                except OSError:
                    return
            due = max(due + 1.0 / self.rate, time.monotonic() - 0.05)
            time.sleep(max(due - time.monotonic(), 0.0))

    def _send(self, kind: int, body: bytes) -> None:
        with self.sending:
            self.connection.sendall(struct.pack(">HB", len(body) + 3, kind) + body)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.connection.recv(size - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data


def _names(body: bytes) -> list[str]:
    """Names of a recipe; clients leave commas at its end."""
    return [name for name in body.decode().split(",") if name]


def serve_dashboard(connection: socket.socket, controller: Controller) -> None:
    """Answer lines until the client goes away."""
    connection.sendall(b"Connected: Universal Robots Dashboard Server\n")
    with connection.makefile("r") as lines:
        for line in lines:
            connection.sendall((controller.dashboard(line.strip()) + "\n").encode())


def serve_scripts(connection: socket.socket, controller: Controller) -> None:
    """Take scripts; one is complete where nothing follows it for a while."""
    connection.settimeout(0.2)
    received = False
    while True:
        try:
            if not connection.recv(65536):
                return
            received = True
        except TimeoutError:
            if received:
                controller.upload()
            received = False


def listen(port: int, serve: Callable[[socket.socket], None]) -> None:
    """Serve every client of a port in a thread of its own."""
    listener = socket.create_server((HOST, port), reuse_port=False)

    def safely(connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(connection)
        except OSError:
            pass  # the client has gone

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=safely, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="UR5")
    parser.add_argument("--polyscope", default="5.11.0")
    parser.add_argument("--local", action="store_true", help="not in remote control")
    arguments = parser.parse_args()
    controller = Controller(arguments.model, arguments.polyscope, remote=not arguments.local)
    listen(RTDE, lambda connection: Rtde(connection, controller).serve())
    listen(DASHBOARD, lambda connection: serve_dashboard(connection, controller))
    for port in SCRIPTS:
        listen(port, lambda connection: serve_scripts(connection, controller))
    for work in (controller.move, controller.run_script):
        threading.Thread(target=work, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        print(controller.told(line.strip()), flush=True)


if __name__ == "__main__":
    main()
