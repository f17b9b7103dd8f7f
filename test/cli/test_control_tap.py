"""A tap on the control loop tells when messages were published, however late it is asked."""

from __future__ import annotations

import time

import pytest
import rclpy

from physai_ros.cli.control_tap import ControlTap
from physai_ros.msg import DriverState, SafeCommand
from physai_ros.ros import qos


def test_instants_are_those_of_publication_and_in_order():
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("writer", namespace="tap", context=context)
    states = node.create_publisher(DriverState, "driver_state", qos.CONTROL_WRITER)
    commands = node.create_publisher(SafeCommand, "safe_command", qos.CONTROL_WRITER)
    heard: list[tuple[type, float]] = []
    with ControlTap("tap") as tap:
        tap.hooks.append(lambda message, instant: heard.append((type(message), instant)))
        deadline = time.monotonic() + 20.0
        while not (states.get_subscription_count() and commands.get_subscription_count()):
            assert time.monotonic() < deadline, "the tap was not discovered"
            time.sleep(0.01)
        published = []
        for _ in range(5):
            for writer, kind in ((states, DriverState), (commands, SafeCommand)):
                published.append((kind, time.monotonic()))
                writer.publish(kind())
        while len(heard) < len(published):
            assert time.monotonic() < deadline, f"{len(heard)} of {len(published)} messages came"
            time.sleep(0.3)  # whoever asks is late
            tap.take()
    node.destroy_node()
    context.try_shutdown()
    assert [kind for kind, _ in heard] == [kind for kind, _ in published]
    for (_, instant), (_, began) in zip(heard, published, strict=True):
        assert instant == pytest.approx(began, abs=0.1)
