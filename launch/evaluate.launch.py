"""An evaluation under launch: the same that `physai evaluate` does; launch ends with it."""

import shlex
import sys

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import EmitEvent, ExecuteProcess, OpaqueFunction
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration

from physai_ros.deployment import tied
from physai_ros.deployment.ros_launch import declared

ARGUMENTS = {
    "policy": ("current", "Version in the registry, or 'current'."),
    "against": ("", "Version to compare with on the same scenarios; empty: none."),
    "registry": ("registry", "Folder of the policy versions."),
    "task": ("pick_place", "Task by name, module:Class or file."),
    "episodes": ("100", "Scenarios; each policy gets all of them."),
    "seed": ("0", "Seed of the scenarios."),
    "backend": ("sim", "sim (processes of its own) or graph (the live one)."),
    "namespace": ("physai", "Namespace of the graph, for backend graph."),
    "json": ("", "File for the figures; empty: none."),
}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the process that evaluates."""
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=_evaluation)])


def _evaluation(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    command = [sys.executable, "-m", "physai_ros.cli.main", "evaluate"]
    for name in ARGUMENTS:
        value = LaunchConfiguration(name).perform(context)
        if value:
            command += [f"--{name}", value]
    return [
        ExecuteProcess(
            cmd=command,
            prefix=shlex.join([sys.executable, "-S", "-E", tied.__file__, "0"]),
            output="both",
            on_exit=[EmitEvent(event=Shutdown(reason="the evaluation is done"))],
        )
    ]
