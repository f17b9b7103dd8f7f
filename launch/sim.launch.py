"""The graph `sim` under launch: the same description that `physai up sim` starts."""

from launch import LaunchDescription

from physai_ros.deployment.ros_launch import describe_graph

TASKED = (
    "driver_node",
    "sensor_fusion",
    "policy_inference",
    "operator",
    "sparse_trainer",
    "evaluator",
    "episode_manager",
)


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and, made from them, all processes."""
    return describe_graph(
        "sim",
        {
            "seed": ("0", "Seed of start states, noise and training."),
            "task": ("", "Task of the arm; empty: that of the parameters."),
            "episodes": ("", "Episodes to run by itself; empty: that of the parameters."),
        },
        settings={"task": TASKED, "episodes": ("episode_manager",)},
    )
