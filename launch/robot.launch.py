"""The graph `robot` under launch: a real arm, by its own ROS driver or its vendor's client."""

from launch import LaunchDescription

from physai_ros.deployment.ros_launch import describe_graph

TASKED = ("sensor_fusion", "policy_inference", "sparse_trainer", "evaluator", "workcell", "episode_manager")


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and, made from them, all processes."""
    return describe_graph(
        "robot",
        {
            "robot": (None, "Robot configuration, by name of config/robots or by path. There is no default."),
            "task": ("", "Task of the arm; empty: that of the parameters."),
            "sink_without_timeout": (
                "",
                "In writing, why an arm may be driven that does not stop by itself when its driver dies; empty: it may "
                "not.",
            ),
        },
        settings={"task": TASKED, "sink_without_timeout": ("hardware_node", "safety_monitor")},
    )
