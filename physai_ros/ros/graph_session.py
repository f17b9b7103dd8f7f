"""A command's short visit to the live graph: a node, spun in a thread, gone afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from physai_ros.ros.graph_trials import GraphTrials


@contextmanager
def graph_trials(namespace: str, store: str = "") -> Iterator[GraphTrials]:
    """What runs trials on the graph in `namespace`, which keeps its episodes in `store`, while the block lasts."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("evaluate", namespace=namespace, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    trials = GraphTrials(node, store=store)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass  # the block has ended

    thread = threading.Thread(target=spin, name="graph", daemon=True)
    thread.start()
    try:
        yield trials
    finally:
        executor.shutdown(timeout_sec=1.0)
        thread.join(timeout=2.0)
        node.destroy_node()
        context.try_shutdown()
