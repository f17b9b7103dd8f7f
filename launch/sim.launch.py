"""The graph `sim` under launch: the same description that `physai up sim` starts."""

import os
import shlex
import sys

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from physai_ros.deployment import tied
from physai_ros.deployment.claims import claim_graph
from physai_ros.deployment.environment import graph_environment
from physai_ros.deployment.graph import load_graph
from physai_ros.deployment.parameters import graph_parameters
from physai_ros.robot.share import share_path

GRAPH = "sim"
_claims = []  # held until this launch ends


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and, made from them, all processes."""
    arguments = [
        DeclareLaunchArgument("namespace", default_value="physai", description="Namespace of all nodes."),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="false",
            description="Whether nodes follow /clock instead of the system clock.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(share_path("config", f"{GRAPH}.yaml")),
            description="Parameters as ROS 2 YAML.",
        ),
        DeclareLaunchArgument("run", default_value="runs/launch", description="Folder for the data of this run."),
        DeclareLaunchArgument("rviz", default_value="false", description="Whether to start RViz."),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=processes)])


def processes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return one action a process, with the arguments of this launch passed on."""
    graph = load_graph(GRAPH)
    namespace = LaunchConfiguration("namespace").perform(context)
    use_sim_time = LaunchConfiguration("use_sim_time").perform(context).lower() in ("true", "1")
    parameter_file = LaunchConfiguration("params_file").perform(context)
    run = os.path.abspath(LaunchConfiguration("run").perform(context))
    os.makedirs(run, exist_ok=True)
    domain = int(os.environ.get("ROS_DOMAIN_ID") or 0)
    _claims.append(claim_graph(domain, namespace, f"ros2 launch of graph {GRAPH}"))
    environment = graph_environment(os.environ, domain=domain, simulated=graph.simulated)
    actions: list[LaunchDescriptionEntity] = [
        SetEnvironmentVariable(name, value)
        for name, value in environment.items()
        if os.environ.get(name) != value and name != "AMENT_PREFIX_PATH"
    ]
    own = graph_parameters(graph, run)
    for process in graph.in_order:
        common = [own[process.name]] if own[process.name] else []
        # launch starts a process again whatever its exit code; the manager's says that a restart would not help.
        respawn = process.restart != "never" and process.managed
        actions.append(
            Node(
                package="physai_ros",
                executable=process.executable,
                name=process.name,
                namespace=namespace,
                parameters=[*common, parameter_file, {"use_sim_time": use_sim_time}],
                remappings=list(process.remappings.items()),
                # Nodes do not outlive launch, however it ends.
                prefix=shlex.join([sys.executable, "-S", "-E", tied.__file__, str(process.nice)]),
                respawn=respawn,
                respawn_delay=1.0,
                output="both",
                on_exit=[EmitEvent(event=Shutdown(reason=f"{process.name} ended"))]
                if process.essential and not respawn
                else None,
            )
        )
    actions.append(
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz",
            namespace=namespace,
            arguments=["-d", str(share_path("config", "rviz", "physai.rviz"))],
            parameters=[{"use_sim_time": use_sim_time}],
            condition=IfCondition(LaunchConfiguration("rviz")),
        )
    )
    return actions


if __name__ == "__main__":
    sys.exit("Start it with: ros2 launch physai_ros sim.launch.py")
