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
    control: Annotated[
        str, typer.Option(help="How the arm is driven: bridge (topics of its joints) or ros2_control.")
    ] = "bridge",
    shift: Shift = None,
    physics: Physics = None,
) -> None:
    """Write a Gazebo world (Harmonic and newer) and what ros_gz_bridge passes on."""
    from physai_ros.robot.share import share_path
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.simulation.gazebo.bridge import WORLD, bridge_yaml, bridged_topics, service_arguments
    from physai_ros.simulation.gazebo.ros2_control import controlled_urdf
    from physai_ros.simulation.gazebo.world import world_sdf
    from physai_ros.simulation.physics import PhysicsParameters
    from physai_ros.tasks.catalog import load_task

    spec, described = RobotSpec.load(robot), load_task(task)
    parameters = PhysicsParameters().with_values(physics_values(shift, physics))
    if control not in ("bridge", "ros2_control"):
        raise ValueError(f"--control is '{control}'; expected bridge or ros2_control")
    sdf = world_sdf(spec, described, parameters, camera=camera, arm=control == "bridge")
    out.mkdir(parents=True, exist_ok=True)
    (out / "world.sdf").write_text(sdf)
    typer.echo(f"gz sim -s -r {'--headless-rendering ' * camera}{out / 'world.sdf'}")
    if control == "ros2_control":
        urdf = controlled_urdf(spec, str(share_path("config", "gazebo", "controllers.yaml")))
        (out / "arm.urdf").write_text(urdf)
        typer.echo(f"ros2 run robot_state_publisher robot_state_publisher {out / 'arm.urdf'}")
        typer.echo(f"ros2 run ros_gz_sim create -world {WORLD} -topic robot_description")
        typer.echo("ros2 run controller_manager spawner joint_state_broadcaster arm_controller hand_controller")
        return
    (out / "bridge.yaml").write_text(bridge_yaml(bridged_topics(spec, described)))
    typer.echo(
        f"ros2 run ros_gz_bridge parameter_bridge {' '.join(service_arguments())} "
        f"--ros-args -r __ns:=/physai -p config_file:={out / 'bridge.yaml'}"
    )
