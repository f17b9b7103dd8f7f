"""A person's word on the episode that runs."""

from __future__ import annotations

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from physai_ros.srv import EndEpisode

_TIMEOUT = 5.0  # [s] for the graph to answer


def end_running_episode(namespace: str, word: str, reason: str) -> str:
    """Id of the running episode of the graph in `namespace`, ended as `word`, `success` or `failure`.

    Raises:
        RuntimeError: there is no such graph, or it refuses.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = Node("label", namespace=namespace, context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        client = node.create_client(EndEpisode, "end_episode")
        if not client.wait_for_service(_TIMEOUT):
            raise RuntimeError(f"no graph answers in namespace '{namespace}'; start one with `physai up`")
        future = client.call_async(EndEpisode.Request(label=word, reason=reason))
        executor.spin_until_future_complete(future, _TIMEOUT)
        if not future.done():
            raise RuntimeError(f"the graph in '{namespace}' did not answer within {_TIMEOUT:.0f} s")
        answer = future.result()
        if not answer.accepted:
            raise RuntimeError(f"the episode was not ended: {answer.message}")
        node.destroy_node()
        return answer.episode_id
    finally:
        context.try_shutdown()
