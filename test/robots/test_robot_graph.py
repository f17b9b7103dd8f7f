"""The graph `robot`, as `physai up` starts it, on emulated robots by their vendors' clients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from rclpy.client import Client
from std_msgs.msg import String
from std_srvs.srv import Trigger

from physai_ros import msg, srv
from physai_ros.deployment.graph import Graph, load_graph
from physai_ros.deployment.supervised import SupervisedGraph
from physai_ros.evaluation.unfiltered import Unfiltered
from physai_ros.experience.episode import Purpose
from physai_ros.robot.action import RobotAction
from physai_ros.robot.share import share_path
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverState
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, to_message
from physai_ros.ros.graph_monitor import GraphMonitor

pytestmark = pytest.mark.timeout(900)

LONG = 120.0  # [s] for imports and discovery on a machine with other work
NAMESPACE = "arm"
CONTROL = ("hardware_node", "safety_monitor", "lifecycle_manager")
TASKED = ("sensor_fusion", "policy_inference", "sparse_trainer", "evaluator", "workcell", "episode_manager")
# Patient where this machine may be slow, and in no hurry where a person would be.
SETTINGS = {
    "hardware_node": {"state_timeout": 1.0, "first_motion": 0.0, "clock_tolerance": 1.0},
    "safety_monitor": {"first_motion": 0.0, "driver_timeout": 30.0},
    "workcell": {"home_speed": 0.3},
}


class Bench:
    """Some nodes of the graph, and a person beside them who lets go, sets up, and notes what went wrong."""

    def __init__(self, monitor: GraphMonitor) -> None:
        self.monitor = monitor
        self.faults: list[str] = []
        self.lost = 0
        self.stops: list[list[str]] = []
        self.outcomes: list[msg.TaskOutcome] = []
        self._request = ""
        self._resumed = False
        self._clients: dict[str, Client] = {}
        monitor.hooks.append(self._look)
        monitor.node.create_subscription(msg.TaskOutcome, "task_outcome", self.outcomes.append, qos.LATCHED)
        monitor.node.create_subscription(String, "workcell_request", self._read, qos.LATCHED)

    def _look(self, message: object) -> None:
        if isinstance(message, msg.DriverState) and message.fault == msg.DriverState.FAULT_LINK_LOST:
            self.lost += 1
        elif isinstance(message, msg.DriverState) and message.fault != msg.DriverState.FAULT_NONE:
            self.faults.append(message.fault_text)
        if isinstance(message, msg.SafetyStatus) and message.state == msg.SafetyStatus.STOPPED and self._resumed:
            self.stops.append(list(message.reasons))

    def _read(self, message: String) -> None:
        self._request = message.data

    def press(self, name: str, timeout: float = LONG) -> None:
        """Press a button until it does what it is for."""
        until, answer = time.monotonic() + timeout, "nobody serves it"
        while time.monotonic() < until:
            try:
                response = self.once(name)
            except TimeoutError:
                continue  # it is still coming up
            if response.success:
                return
            answer = response.message
            self._recover()
            time.sleep(0.1)
        raise AssertionError(f"{name}: {answer}")

    def wait(self, condition: Callable[[], bool], what: str, *, button: str = "") -> None:
        """Wait until a condition holds, and let the arm go again where it was stopped, or the link lost, meanwhile."""
        until = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < until, f"{what} did not come within {LONG:g} s"
            if self._recover() and button:
                self.press(button)
            elif self._resumed and self.stopped:
                self.resume()
            time.sleep(0.002)

    def _recover(self) -> bool:
        """Whether the link was lost and is back. libfranka gives a robot up that is kept from its work for a second."""
        driver = self.monitor.driver
        if driver is None or driver.fault != msg.DriverState.FAULT_LINK_LOST:
            return False
        with suppress(TimeoutError):
            self.once("driver/recover")
            self.monitor.wait(lambda: self.monitor.driver.fault == msg.DriverState.FAULT_NONE, 20.0, "the link")
            return True
        return False

    def once(self, name: str) -> Trigger.Response:
        """What a button answers."""
        return self.call(Trigger, name, Trigger.Request(), timeout=15.0)

    def call(self, kind: type, name: str, request: object, timeout: float = LONG) -> object:
        """Answer of a service, by a client that is kept for the next time."""
        if name not in self._clients:
            self._clients[name] = self.monitor.node.create_client(kind, name)
        client = self._clients[name]
        self.monitor.wait(client.service_is_ready, timeout, f"the service {name}")
        future = client.call_async(request)
        self.monitor.wait(future.done, timeout, f"an answer of the service {name}")
        return future.result()

    @property
    def stopped(self) -> bool:
        """Whether the safety monitor has stopped the arm."""
        return self.monitor.safety is None or self.monitor.safety.state == msg.SafetyStatus.STOPPED

    def resume(self) -> None:
        """Let the arm go."""
        self._resumed = False
        self.press("resume")
        self.monitor.wait(lambda: not self.stopped, LONG, "NOMINAL")
        self._resumed = True

    def propose(self, policy: Callable[[DriverState], RobotAction]) -> None:
        """Answer every state with what a policy wants, in the place of the inference."""
        writer = self.monitor.node.create_publisher(msg.RobotAction, "proposed_action", qos.CONTROL_WRITER)
        self._answer(lambda state: writer.publish(to_message(policy(state))))

    def permit(self, policy: Callable[[DriverState], RobotAction], spec: RobotSpec) -> None:
        """Take the driver in the place of the safety monitor, and permit what a policy wants, as it is."""
        writer = self.monitor.node.create_publisher(msg.SafeCommand, "safe_command", qos.CONTROL_WRITER)
        self.monitor.wait(lambda: self.monitor.driver is not None, LONG, "the driver")
        claim = self.call(srv.ClaimDriver, "claim_driver", srv.ClaimDriver.Request(claimant="nobody"))
        assert claim.granted, claim.message
        safety = Unfiltered(spec)

        def answer(state: DriverState) -> None:
            command = safety.decide(state, policy(state), None, state.stamp)
            command.token = claim.token
            writer.publish(to_message(command))

        self._answer(answer)

    def _answer(self, answer: Callable[[DriverState], None]) -> None:
        def hook(message: object) -> None:
            if isinstance(message, msg.DriverState) and message.mode == msg.DriverState.MODE_ACTIVE:
                answer(from_message(message))

        self.monitor.hooks.append(hook)

    def speed(self) -> float:
        """Largest speed of a joint [rad/s]."""
        return 0.0 if self.monitor.driver is None else max(map(abs, self.monitor.driver.joint_velocities))

    def episode(self, seed: int) -> tuple[float, bool]:
        """Set up and run one episode; returns how long it ran [s] of wall time, and whether it succeeded."""
        monitor = self.monitor
        request = srv.StartEpisode.Request(task="reach", seed=seed, purpose=int(Purpose.EVALUATE))
        answer = srv.StartEpisode.Response()
        until = time.monotonic() + LONG
        while not answer.accepted:
            assert time.monotonic() < until, answer.message
            answer = self.call(srv.StartEpisode, "start_episode", request)
        own = answer.episode_id
        monitor.wait(lambda: "confirm_reset" in self._request, 30.0, "the request to set up")
        self._set_up()

        def now(phase: int) -> bool:
            return monitor.episode is not None and (monitor.episode.episode_id, monitor.episode.phase) == (own, phase)

        ended = msg.EpisodeContext.PHASE_ENDED
        monitor.wait(lambda: now(msg.EpisodeContext.PHASE_RUNNING) or now(ended), 30.0, "the episode")
        seconds = monitor.wait(lambda: now(ended), 60.0, "its end")
        return seconds, any(outcome.success for outcome in self.outcomes if outcome.episode_id == own)

    def _set_up(self) -> None:
        """Bring the arm home and say so, as often as it takes."""
        until = time.monotonic() + LONG
        while time.monotonic() < until:
            if self.stopped:
                self.resume()
            self.once("go_home")
            while time.monotonic() < until and not self.stopped:
                if self.once("confirm_reset").success:
                    return
        raise AssertionError(f"the arm did not come home within {LONG:g} s")


@pytest.fixture
def configured(clients, tmp_path) -> Callable[..., Path]:
    """Call it with an arm's name and changes of its connection for a configuration with the vendors' clients."""

    def write(name: str, **connection: object) -> Path:
        content = yaml.safe_load(share_path("config", "robots", f"{name}.yaml").read_text())
        content |= {"urdf": str(share_path("models", f"{name}.urdf")), "command_timeout": 1.0}
        content["connection"] |= {"python": clients, **connection}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def emulated_franka(emulate, clients, tmp_path):
    """A Franka on this machine."""
    return emulate("franka_server.py", str(tmp_path / "fr3.xml"), python=clients)


@pytest.fixture
def franka(emulated_franka, configured) -> Path:
    """Configuration of that Franka."""
    return configured("fr3", address="127.0.0.1", realtime="ignore")


@pytest.fixture
def bench_of(tmp_path) -> Iterator[Callable[..., Bench]]:
    """Call it with a robot, a registry and names of nodes to bring them up."""
    with ExitStack() as stack:

        def start(robot: Path, *names: str, registry: Path | str = "") -> Bench:
            processes = []
            for process in load_graph("robot").processes:
                given = {"robot": str(robot), "registry": str(registry)}
                own = {name: value for name, value in given.items() if name in process.parameters and value}
                task = {"task": "reach"} if process.name in TASKED else {}
                parameters = {**process.parameters, **own, **task, **SETTINGS.get(process.name, {})}
                # No real-time priority: the emulated robot needs its time as well.
                processes.append(replace(process, parameters=parameters, realtime_priority=0))
            chosen = tuple(process for process in processes if not names or process.name in names)
            stack.enter_context(SupervisedGraph(Graph("robot", chosen), tmp_path / "run", namespace=NAMESPACE))
            return Bench(stack.enter_context(GraphMonitor(NAMESPACE)))

        yield start


@pytest.mark.timeout(720)
def test_the_whole_graph_reaches_for_a_minute_and_has_no_reflex(emulated_franka, franka, bench_of, taught_run):
    bench = bench_of(franka, registry=taught_run / "registry")
    bench.resume()
    begun, until, clock = time.monotonic(), time.monotonic() + 480.0, float(emulated_franka.ask("clock"))
    ran, won, seed = 0.0, 0, 0
    while ran < 60.0 and time.monotonic() < until:
        seed += 1
        lasted, success = bench.episode(seed)
        ran, won = ran + lasted, won + success
    pace = (float(emulated_franka.ask("clock")) - clock) / (time.monotonic() - begun)
    assert not bench.faults
    # A robot whose seconds are much longer than ours falls behind what it is told, and is stopped for that.
    if pace > 0.5 and not bench.lost:
        assert not bench.stops and won >= 0.5 * seed and ran >= 60.0, (pace, bench.stops, won, seed, ran)


def to_and_fro(spec: RobotSpec, joint: int) -> Callable[[DriverState], RobotAction]:
    """A policy that drives a joint into one end of its range and into the other, at full speed, and never brakes."""
    side = 1.0

    def policy(state: DriverState) -> RobotAction:
        nonlocal side
        end = (spec.position_upper if side > 0.0 else spec.position_lower)[joint]
        if abs(state.joint_positions[joint] - end) < 0.02:
            side = -side
        reference = state.commanded_positions.copy()
        reference[joint] += side * spec.velocity_limits[joint] * spec.control_period
        reference = np.clip(reference, spec.position_lower, spec.position_upper)
        step = reference - state.commanded_positions
        return RobotAction(state.stamp, state.sequence, state.sequence, spec.joint_names, reference, step)

    return policy


def test_full_speed_into_the_ends_of_a_range_is_a_reflex_with_the_filter_off(franka, bench_of):
    spec = RobotSpec.load(franka)
    bench = bench_of(franka, "hardware_node", "lifecycle_manager")
    bench.permit(to_and_fro(spec, 5), spec)
    bench.press("driver/resume")
    bench.wait(lambda: bool(bench.faults), "a reflex", button="driver/resume")
    assert "reflex" in bench.faults[0]


def test_a_protective_stop_is_a_reason_until_somebody_recovers_and_resumes(emulate, configured, bench_of):
    controller = emulate("ur_controller.py")
    robot = configured("ur5e", address="127.0.0.1")
    spec = RobotSpec.load(robot)
    bench = bench_of(robot, *CONTROL)
    monitor = bench.monitor

    def sway(state: DriverState) -> RobotAction:
        reference = state.commanded_positions.copy()
        reference[0] = 0.2 * np.sin(0.02 * state.sequence)
        step = reference - state.commanded_positions
        return RobotAction(state.stamp, state.sequence, state.sequence, spec.joint_names, reference, step)

    bench.propose(sway)
    bench.resume()
    bench.wait(lambda: bench.speed() > 0.05, "motion")
    controller.ask("protective_stop")
    monitor.wait(lambda: {"driver_fault", "driver_reflex"} <= set(monitor.safety.reasons), 10.0, "the reason")
    assert monitor.safety.state == msg.SafetyStatus.STOPPED
    assert monitor.driver.fault == msg.DriverState.FAULT_REFLEX and "protective stop" in monitor.driver.fault_text
    monitor.wait(lambda: bench.speed() < 1e-3, 10.0, "rest")
    stood = np.array(monitor.driver.joint_positions)
    refused = bench.once("resume")
    assert not refused.success and "driver/recover" in refused.message
    bench.press("driver/recover")
    monitor.wait(lambda: monitor.driver.fault == msg.DriverState.FAULT_NONE, 30.0, "the recovery")
    assert monitor.safety.state == msg.SafetyStatus.STOPPED
    assert np.abs(np.array(monitor.driver.joint_positions) - stood).max() < 1e-3
    bench.resume()
    bench.wait(lambda: bench.speed() > 0.05, "motion")
