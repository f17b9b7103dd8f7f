"""`physai view`: the running graph in a browser or a desktop viewer."""

from __future__ import annotations

import signal
from typing import Annotated

import typer


def view(
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph.")] = "physai",
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the websocket.")] = 8765,
) -> None:
    """Serve the running graph to Foxglove (app.foxglove.dev or its desktop application) until Ctrl-C."""
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from physai_ros.ros.executor import ControlExecutor
    from physai_ros.ros.live_view import LiveView, foxglove_library

    foxglove = foxglove_library()
    with rclpy.init():
        node = rclpy.create_node("live_view", namespace=namespace)
        LiveView(node)
        server = foxglove.start_server(name=f"physai /{namespace}", host=host, port=port)
        typer.echo(f"open ws://{host}:{port} in Foxglove: Open connection, Foxglove WebSocket")
        executor = ControlExecutor(context=node.context)
        executor.add_node(node)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            while True:
                executor.spin_once(0.5)
        except (KeyboardInterrupt, ExternalShutdownException):
            pass
        finally:
            server.stop()
            executor.shutdown(timeout_sec=1.0)
            node.destroy_node()
