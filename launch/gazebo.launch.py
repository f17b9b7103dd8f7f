"""The graph `gazebo` under launch, with Gazebo, its bridge, and a world of the arm's URDF and the task's objects."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import EmitEvent, ExecuteProcess
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from physai_ros.deployment.ros_launch import describe_graph, is_true
from physai_ros.robot.spec import RobotSpec
from physai_ros.simulation.gazebo.bridge import bridge_yaml, bridged_topics, service_arguments
from physai_ros.simulation.gazebo.world import world_sdf
from physai_ros.tasks.catalog import load_task

TASKED = (
    "gazebo_driver",
    "sensor_fusion",
    "policy_inference",
    "operator",
    "sparse_trainer",
    "evaluator",
    "episode_manager",
)
PACED = ("gazebo_driver", "policy_inference")


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and, made from them, all processes."""
    return describe_graph(
        "gazebo",
        {
            "seed": ("0", "Seed of start states and training."),
            "task": ("pick_place", "Task of the arm, whose objects are in the world."),
            "mode": ("lock_step", "Who drives time: Gazebo (paced) or the answers (lock_step)."),
            "episodes": ("", "Episodes to run by itself; empty: that of the parameters."),
        },
        settings={"task": TASKED, "episodes": ("episode_manager",), "mode": PACED},
        beside=_gazebo,
        more={
            "gz": ("true", "Whether to start Gazebo and its bridge; false: they, or the stand-in, run already."),
            "gui": ("false", "Whether to start Gazebo with its window."),
            "camera": ("true", "Whether the world has a camera, which needs OpenGL."),
        },
    )


def _gazebo(context: LaunchContext, run: str) -> list[LaunchDescriptionEntity]:
    """Gazebo with a world of its own for this run, and the bridge."""
    if not is_true(context, "gz"):
        return []
    # The graph's other nodes have the robot of their defaults too: one name for all of them.
    spec, task = RobotSpec.load("fr3_sim"), load_task(LaunchConfiguration("task").perform(context))
    camera = is_true(context, "camera")
    world, bridge = Path(run, "world.sdf"), Path(run, "bridge.yaml")
    world.write_text(world_sdf(spec, task, camera=camera))
    bridge.write_text(bridge_yaml(bridged_topics(spec, task)))
    command = ["gz", "sim", "-r", str(world)]
    if not is_true(context, "gui"):
        command[2:2] = ["-s", *(["--headless-rendering"] if camera else [])]
    return [
        ExecuteProcess(cmd=command, output="both", on_exit=[EmitEvent(event=Shutdown(reason="Gazebo ended"))]),
        Node(
            package="ros_gz_bridge",
            executable="parameter_bridge",
            name="gazebo_bridge",
            namespace=LaunchConfiguration("namespace"),
            arguments=service_arguments(),
            parameters=[{"config_file": str(bridge)}],
            output="both",
            respawn=True,
            respawn_delay=1.0,
        ),
    ]
