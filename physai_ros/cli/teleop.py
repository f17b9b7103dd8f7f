"""`physai teleop`: drive the arm from the keyboard, in place of a gamepad."""

from __future__ import annotations

import select
import sys
import time
from typing import Annotated

import typer

_RATE = 20.0  # [Hz]
_ESCAPE, _INTERRUPT = "\x1b", "\x03"


def teleop(
    namespace: Annotated[str, typer.Option(help="Of the graph; its node `teleoperator` must be up.")] = "physai",
    deflection: Annotated[float, typer.Option(min=0.05, max=1.0, help="How far a key moves a stick.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Nothing here is drawn by chance.")] = 0,
) -> None:
    """Publish keys as `joy`: the arm is yours while keys come, and the policy's again 0.6 s after the last."""
    import termios
    import tty

    import rclpy
    from sensor_msgs.msg import Joy

    from physai_ros.robot.keyboard import HELP, KeyboardJoy
    from physai_ros.ros import qos
    from physai_ros.ros.stamps import header

    if not sys.stdin.isatty():
        raise ValueError("teleop reads keys from a terminal; standard input is none")
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("keyboard", namespace=namespace, context=context)
    publisher = node.create_publisher(Joy, "joy", qos.SENSOR_WRITER)
    keyboard, before = KeyboardJoy(deflection), termios.tcgetattr(sys.stdin)
    typer.echo(HELP)
    try:
        tty.setcbreak(sys.stdin)
        while True:
            ready, _, _ = select.select([sys.stdin], [], [], 1.0 / _RATE)
            if ready:
                key = sys.stdin.read(1)
                if key in (_ESCAPE, _INTERRUPT, ""):
                    break
                keyboard.press(key.lower(), time.monotonic())
            axes, buttons = keyboard.state(time.monotonic())
            stamp = node.get_clock().now().nanoseconds / 1e9
            publisher.publish(Joy(header=header(stamp, "keyboard"), axes=axes, buttons=buttons))
    except KeyboardInterrupt:
        pass
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        node.destroy_node()
        context.try_shutdown()
