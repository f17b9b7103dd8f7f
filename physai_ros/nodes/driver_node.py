"""Driver of the simulated arm: measures, obeys `safe_command`, resets the world, judges the task."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from physai_ros import msg, srv
from physai_ros.robot.spec import RobotSpec
from physai_ros.robot.state import DriverMode
from physai_ros.ros import qos
from physai_ros.ros.conversions import from_message, outcome_message, to_message
from physai_ros.ros.driver_services import serve_driver
from physai_ros.ros.images import image_message
from physai_ros.ros.joint_states import joint_state_message
from physai_ros.ros.lifecycle import OK, WARN, ManagedNode, run
from physai_ros.ros.parameters import parameter
from physai_ros.ros.stamps import set_time
from physai_ros.simulation.physics import PhysicsParameters, shifted_arm
from physai_ros.simulation.simulated_driver import SimulatedDriver
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Scenario

_REPEAT = 0.05  # [s] of wall time after which an unanswered measurement is sent again


@dataclass(frozen=True)
class Parameters:
    """Parameters of the simulated driver."""

    robot: str = parameter("fr3_sim", "Robot configuration, by name or path.")
    task: str = parameter("pick_place", "Task whose objects are on the table, by name, module:Class or file.")
    mode: str = parameter("paced", "Who drives time: the clock or the answers.", choices=("paced", "lock_step"))
    seed: int = parameter(0, "Of the first start state and its measurement noise.", minimum=0)
    physics: str = parameter("nominal", "Which arm is simulated.", choices=("nominal", "shifted"))
    shift_seed: int = parameter(0, "Which shifted arm.", minimum=0)
    physics_names: tuple[str, ...] = parameter((), "Physics parameters to change, see ROBOT_SIM_PARAMS.")
    physics_values: tuple[float, ...] = parameter((), "Their values, in SI units.")
    publish_clock: bool = parameter(False, "Publish simulated time on /clock; one graph at a time may.")
    camera: str = parameter("scene", "Camera to publish.", choices=("scene", "wrist"))
    cameras: tuple[str, ...] = parameter((), "Cameras to publish, of scene and wrist; empty: the one of `camera`.")
    camera_rate: float = parameter(0.0, "Pictures a second of simulated time [Hz]; 0: none.", minimum=0.0, maximum=60.0)
    camera_height: int = parameter(120, "Height of a picture [pixel].", minimum=16, maximum=1080)
    camera_width: int = parameter(160, "Width of a picture [pixel].", minimum=16, maximum=1920)


class DriverNode(ManagedNode):
    """The simulated arm as a driver: one measurement a control cycle."""

    node_name = "driver_node"
    Parameters = Parameters

    def configure(self) -> None:
        """Build the arm and its guard."""
        p = self.parameters
        spec = RobotSpec.load(p.robot)
        physics = shifted_arm(p.shift_seed) if p.physics == "shifted" else PhysicsParameters()
        physics = physics.with_values(_pairs(p.physics_names, p.physics_values))
        self._lock_step = p.mode == "lock_step"
        self._driver = self._make_driver(spec, physics)
        self._task = p.task
        self._states = self.publisher(msg.DriverState, "driver_state", qos.CONTROL_WRITER)
        self._objects = self.publisher(msg.ObjectStates, "objects", qos.CONTROL_WRITER)
        # What only a simulator knows; a scripted operator sees it, no policy may.
        self._truth = self.publisher(msg.RobotState, "ground_truth", qos.CONTROL_WRITER)
        self._outcomes = self.publisher(msg.TaskOutcome, "task_outcome", qos.LATCHED)
        # For whoever shows the arm: RViz, robot_state_publisher.
        self._description = self.publisher(String, "robot_description", qos.LATCHED)
        self._joints = self.publisher(JointState, "joint_states", qos.SENSOR_WRITER)
        self._urdf = spec.urdf_path.read_text(encoding="utf-8")
        self._clock_writer = self.publisher(Clock, "/clock", qos.CLOCK_WRITER) if p.publish_clock else None
        self._pictures = {}
        self._drawn, self._first = -1, 0
        if p.camera_rate:
            topics = {name: f"camera/{name}/image_raw" for name in p.cameras or (p.camera,)}
            self._pictures = {name: self.publisher(Image, topics[name], qos.SENSOR_WRITER) for name in topics}
            self._picture_cycles = max(1, round(spec.control_rate / p.camera_rate))
            self._draw()  # no OpenGL: say so now
        self.subscribe(msg.SafeCommand, "safe_command", self._on_command, qos.COMMAND)
        self.serve(srv.ResetWorld, "reset_world", self._reset_world)
        serve_driver(self, self._driver, self._publish)
        self.serve(srv.SetRandomization, "set_randomization", self._randomize)
        cycle = self.time_cycles(spec.control_period, self._tick)
        self.cycle_times.paced = not self._lock_step
        self.every(_REPEAT if self._lock_step else spec.control_period, cycle)
        self._sent = -np.inf

    def _make_driver(self, spec: RobotSpec, physics: PhysicsParameters) -> SimulatedDriver:
        p = self.parameters
        return SimulatedDriver(spec, load_task(p.task), physics, p.seed, lock_step=self._lock_step)

    def activate(self) -> None:
        """Measure for the first time."""
        self._description.publish(String(data=self._urdf))
        self._publish()

    def deactivate(self) -> None:
        """Stop the arm."""
        self._driver.guard.emergency_stop()

    def cleanup(self) -> None:
        """Release the cameras."""
        if hasattr(self, "_driver"):
            self._driver.arm.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """Mode, claim and refusals."""
        if not self.active:
            return super().diagnose()
        guard = self._driver.guard
        values = {
            "claimant": guard.claimant or "none",
            "commands_refused": guard.commands_refused,
            "last_refusal": guard.last_refusal,
            "simulated_time": f"{self._driver.arm.time:.2f}",
        }
        return OK if guard.mode == DriverMode.ACTIVE else WARN, guard.mode.name.lower(), values

    def _tick(self) -> None:
        if self._lock_step:
            if time.monotonic() - self._sent >= _REPEAT:
                self._publish()
        else:
            self._driver.advance(time.monotonic())
            self._publish()

    def _on_command(self, message: msg.SafeCommand) -> None:
        driver = self._driver
        if not self._lock_step:
            driver.guard.accept(from_message(message), time.monotonic())
        elif message.state_sequence == driver.arm.sequence and driver.answers(from_message(message)):
            driver.advance(driver.arm.time)
            self._publish()

    def _publish(self) -> None:
        self._sent = time.monotonic()
        driver = self._driver
        arm = driver.arm
        if self._clock_writer is not None:
            clock = Clock()
            set_time(clock.clock, arm.time)
            self._clock_writer.publish(clock)
        self._objects.publish(to_message(arm.object_states()))
        state = driver.measure()
        self._states.publish(to_message(state))
        if self._joints.get_subscription_count():
            self._joints.publish(joint_state_message(state, driver.spec.gripper.joints))
        if self._truth.get_subscription_count():
            self._truth.publish(to_message(arm.task_state()))
        outcome = driver.test()
        if outcome is not None:
            self._outcomes.publish(
                outcome_message(outcome, stamp=arm.time, episode_id=driver.episode_id, state_sequence=arm.sequence)
            )
        # Counted from the last reset, so that the first state of an episode is seen, and every policy step after it.
        if self._pictures and (arm.sequence - self._first) % self._picture_cycles == 0:
            self._draw()

    def _draw(self) -> None:
        p, arm = self.parameters, self._driver.arm
        again = arm.sequence == self._drawn
        if again and not self._lock_step:
            return  # where nothing drives time, pictures of it would be all there is
        if not again:
            self._newest = {
                name: image_message(
                    arm.render(name, p.camera_height, p.camera_width), arm.time, f"{name}_optical_frame"
                )
                for name in self._pictures
            }
        self._drawn = arm.sequence
        for name, publisher in self._pictures.items():
            publisher.publish(self._newest[name])

    def _reset_world(
        self, request: srv.ResetWorld.Request, response: srv.ResetWorld.Response
    ) -> srv.ResetWorld.Response:
        try:
            self._driver.randomize(_pairs(request.physics_names, request.physics_values))
            task = load_task(request.task or self._task)
            generator = np.random.default_rng(request.seed)
            text = request.scenario_json
            scenario = Scenario.from_json(text) if text else task.sample_scenario(generator)
            self._first = response.start_sequence = self._driver.reset(task, scenario, request.seed, request.episode_id)
        except ValueError as error:
            response.message = str(error)
            return response
        response.success, response.scenario_json = True, scenario.to_json()
        self._publish()
        return response

    def _randomize(
        self, request: srv.SetRandomization.Request, response: srv.SetRandomization.Response
    ) -> srv.SetRandomization.Response:
        try:
            self._driver.randomize(_pairs(request.names, request.values))
            response.accepted, response.message = True, "in force from the next reset on"
        except ValueError as error:
            response.message = str(error)
        return response


def _pairs(names: tuple[str, ...], values: tuple[float, ...]) -> dict[str, float]:
    if len(names) != len(values):
        raise ValueError(f"{len(names)} physics names with {len(values)} values; give one value for each name")
    return dict(zip(names, values, strict=True))


def main() -> int:
    """Exit code of the driver's process."""
    return run(DriverNode)


if __name__ == "__main__":
    sys.exit(main())
