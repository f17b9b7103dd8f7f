"""`physai world`: a Gazebo world of an arm and a task, and the configuration of its bridge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from physai_ros.cli.physics import Physics, Shift, physics_values


def world(
    out: Annotated[Path, typer.Option(help="Folder for world.sdf and bridge.yaml; made if need be.")] = Path("."),
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    task: Annotated[str, typer.Option(help="Task whose objects are in it.")] = "pick_place",
    camera: Annotated[bool, typer.Option(help="With a camera, which needs OpenGL.")] = True,
    shift: Shift = None,
    physics: Physics = None,
) -> None:
    """Write a Gazebo world (Harmonic and newer) and what ros_gz_bridge passes on."""
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.simulation.gazebo.bridge import bridge_yaml, bridged_topics, service_arguments
    from physai_ros.simulation.gazebo.world import world_sdf
    from physai_ros.simulation.physics import PhysicsParameters
    from physai_ros.tasks.catalog import load_task

    spec, described = RobotSpec.load(robot), load_task(task)
    parameters = PhysicsParameters().with_values(physics_values(shift, physics))
    sdf = world_sdf(spec, described, parameters, camera=camera)
    out.mkdir(parents=True, exist_ok=True)
    (out / "world.sdf").write_text(sdf)
    (out / "bridge.yaml").write_text(bridge_yaml(bridged_topics(spec, described)))
    typer.echo(f"gz sim -s -r {'--headless-rendering ' * camera}{out / 'world.sdf'}")
    typer.echo(
        f"ros2 run ros_gz_bridge parameter_bridge {' '.join(service_arguments())} "
        f"--ros-args -r __ns:=/physai -p config_file:={out / 'bridge.yaml'}"
    )
