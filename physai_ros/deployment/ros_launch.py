"""The process graph under `ros2 launch`: what the files in launch/ share. Only where launch_ros is installed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from physai_ros.deployment import tied
from physai_ros.deployment.claims import claim_graph
from physai_ros.deployment.environment import graph_environment
from physai_ros.deployment.graph import Graph, load_graph
from physai_ros.deployment.parameters import Overrides, graph_parameters, need_robot, set_everywhere
from physai_ros.robot.share import share_path

_claims = []  # held until this launch ends

Beside = Callable[[LaunchContext, str], list[LaunchDescriptionEntity]]
"""Makes what a launch file starts beside the graph, from the context and the run folder."""


def describe_graph(
    name: str,
    everywhere: Mapping[str, tuple[str | None, str]],
    *,
    beside: Beside | None = None,
    settings: Mapping[str, Sequence[str]] | None = None,
    more: Mapping[str, tuple[str | None, str]] | None = None,
) -> LaunchDescription:
    """The launch description of a graph of config/graphs.

    Args:
        name: of the graph.
        everywhere: arguments that set the parameter of their name for every process for which the graph names it:
            default value (None: it must be given) and description. An empty value sets nothing.
        beside: what is started before the graph.
        settings: argument → processes whose parameter of that name it sets as well.
        more: arguments that `beside` reads, with default value and description.
    """
    params_file = share_path("config", f"{name}.yaml")
    common = {
        "namespace": ("physai", "Namespace of all nodes."),
        "use_sim_time": ("false", "Whether nodes follow /clock instead of the system clock."),
        "params_file": (
            str(params_file) if params_file.is_file() else "",
            "Parameters as ROS 2 YAML, over those of the graph; empty: none.",
        ),
        "run": ("runs/launch", "Folder for the data of this run."),
        "rviz": ("false", "Whether to start RViz."),
    }

    def made(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        run = os.path.abspath(LaunchConfiguration("run").perform(context))
        os.makedirs(run, exist_ok=True)
        graph = load_graph(name)
        chosen: Overrides = {}
        for argument in everywhere:
            value = LaunchConfiguration(argument).perform(context)
            if not value:
                continue
            for process in (settings or {}).get(argument, ()):
                chosen.setdefault(process, {})[argument] = _plain(value)
            if any(argument in process.parameters for process in graph.processes):
                set_everywhere(graph, chosen, argument, _plain(value))
        need_robot(graph, chosen)
        before = beside(context, run) if beside is not None else []
        return [*graph_actions(context, graph, run, chosen, before), rviz_node(condition="rviz")]

    return LaunchDescription([*declared({**common, **everywhere, **(more or {})}), OpaqueFunction(function=made)])


def declared(arguments: Mapping[str, tuple[str | None, str]]) -> list[DeclareLaunchArgument]:
    """Launch arguments by name, each with its default value (None: it must be given) and what it is for."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in arguments.items()
    ]


def graph_actions(
    context: LaunchContext, graph: Graph, run: str, chosen: Overrides, before: list[LaunchDescriptionEntity]
) -> list[LaunchDescriptionEntity]:
    """One action a process, in the graph's environment and order; `before` is started first, in that environment."""
    namespace = LaunchConfiguration("namespace").perform(context)
    use_sim_time = is_true(context, "use_sim_time")
    parameter_file = LaunchConfiguration("params_file").perform(context)
    domain = int(os.environ.get("ROS_DOMAIN_ID") or 0)
    _claims.append(claim_graph(domain, namespace, f"ros2 launch of graph {graph.name}"))
    environment = graph_environment(os.environ, domain=domain, simulated=graph.simulated)
    actions: list[LaunchDescriptionEntity] = [
        SetEnvironmentVariable(name, value)
        for name, value in environment.items()
        if os.environ.get(name) != value and name != "AMENT_PREFIX_PATH"
    ]
    actions += before
    own = graph_parameters(graph, run)
    for process in graph.in_order:
        parameters = [own[process.name]] if own[process.name] else []
        parameters += [parameter_file] if parameter_file else []
        parameters += [chosen[process.name]] if chosen.get(process.name) else []
        # launch starts a process again whatever its exit code; the manager's says that a restart would not help.
        respawn = process.restart != "never" and process.managed
        actions.append(
            Node(
                package="physai_ros",
                executable=process.executable,
                name=process.name,
                namespace=namespace,
                parameters=[*parameters, {"use_sim_time": use_sim_time}],
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
    return actions


def is_true(context: LaunchContext, argument: str) -> bool:
    """Whether a launch argument says true or 1."""
    return LaunchConfiguration(argument).perform(context).lower() in ("true", "1")


def rviz_node(condition: str = "") -> Node:
    """RViz with the package's configuration, in the namespace of the launch; `condition` names an argument."""
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", str(share_path("config", "rviz", "physai.rviz"))],
        parameters=[{"use_sim_time": LaunchConfiguration("use_sim_time")}],
        condition=IfCondition(LaunchConfiguration(condition)) if condition else None,
    )


def _plain(text: str) -> int | str:
    """A launch argument as the parameter it is meant for: a whole number, else the words."""
    return int(text) if text.isdecimal() else text
