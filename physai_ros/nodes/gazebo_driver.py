"""Driver of the arm in Gazebo: the simulated arm's driver, with another simulator behind it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from physai_ros.nodes.driver_node import DriverNode
from physai_ros.nodes.driver_node import Parameters as DriverParameters
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros.gazebo.arm import GazeboArm
from physai_ros.ros.lifecycle import run
from physai_ros.ros.parameters import parameter
from physai_ros.simulation.gazebo.world import TIME_STEP
from physai_ros.simulation.physics import PhysicsParameters
from physai_ros.simulation.simulated_driver import SimulatedDriver
from physai_ros.tasks.catalog import load_task
from physai_ros.tasks.task import Task


@dataclass(frozen=True)
class Parameters(DriverParameters):
    """Those of the simulated driver; the world that runs has its physics, its clock and its pictures already."""

    mode: str = parameter("lock_step", "Who drives time: Gazebo or the answers.", choices=("paced", "lock_step"))
    time_step: float = parameter(TIME_STEP, "Physics step of the world [s].", minimum=0.0001, maximum=0.01)


class GazeboDriver(DriverNode):
    """The arm in Gazebo as a driver: same topics, services and task code as `driver_node`."""

    node_name = "gazebo_driver"
    Parameters = Parameters

    def _make_driver(self, spec: RobotSpec, physics: PhysicsParameters) -> SimulatedDriver:
        p = self.parameters
        if physics != PhysicsParameters() or p.publish_clock or p.camera_rate:
            raise ValueError(
                "physics, clock and pictures are the running world's; leave physics, publish_clock and camera_rate "
                "as they are, and make the world with them (physai world)"
            )

        def arm_in_world(task: Task) -> GazeboArm:
            strange = [item.name for item in task.objects if item not in load_task(p.task).objects]
            if strange:
                raise ValueError(f"the world was made for task '{p.task}'; '{task.name}' needs '{strange[0]}' as well")
            return GazeboArm(spec, task, self, lock_step=self._lock_step, time_step=p.time_step)

        task = load_task(p.task)
        driver = SimulatedDriver(spec, task, physics, p.seed, lock_step=self._lock_step, make_arm=arm_in_world)
        driver.reset(task, task.sample_scenario(np.random.default_rng(p.seed)), p.seed, "")
        return driver


def main() -> int:
    """Exit code of the driver's process."""
    return run(GazeboDriver)


if __name__ == "__main__":
    sys.exit(main())
