#!/usr/bin/env python3
"""A lifecycle node small enough to stand in for every node of a graph in tests of deployment."""

import signal
import sys

import rclpy
from lifecycle_msgs.msg import State
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn


class TinyNode(LifecycleNode):
    """Comes up, unless its parameter `refuse` is set."""

    def __init__(self) -> None:
        super().__init__("tiny")
        self.declare_parameter("refuse", False)

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Refuse when told so."""
        self.get_logger().info("configure")
        refused = self.get_parameter("refuse").value
        return TransitionCallbackReturn.FAILURE if refused else TransitionCallbackReturn.SUCCESS


def main() -> None:
    """Spin until told to stop."""
    rclpy.init(args=sys.argv)
    node = TinyNode()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    print("stopped", flush=True)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
