"""The executor of a node's process: it leaves to rclpy's own, dearer way only what is rare."""

import time

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool

from physai_ros.ros import qos
from physai_ros.ros.executor import ControlExecutor


@pytest.fixture
def node():
    rclpy.init()
    made = rclpy.create_node("resets")
    yield made
    made.destroy_node()
    rclpy.shutdown()


def test_a_timer_that_is_reset_does_not_call_for_rclpys_own_way(node, monkeypatch):
    own_way, resets = [], []
    spin_once = SingleThreadedExecutor.spin_once
    monkeypatch.setattr(SingleThreadedExecutor, "spin_once", lambda *args: (own_way.append(args), spin_once(*args))[1])
    far = node.create_timer(60.0, lambda: None)
    node.create_timer(0.002, lambda: (resets.append(1), far.reset()))
    executor = ControlExecutor()
    executor.add_node(node)
    while len(resets) < 50:
        executor.spin_once(1.0)
    executor.shutdown()
    assert len(own_way) < 10


def test_what_came_is_heard_before_a_timer_that_ran_out_meanwhile(node):
    order, executor = [], ControlExecutor()
    node.create_subscription(Bool, "word", lambda _: order.append("word"), qos.EVENT)
    writer = node.create_publisher(Bool, "word", qos.EVENT)
    timer = node.create_timer(0.05, lambda: order.append("timer"))
    executor.add_node(node)
    while not (writer.get_subscription_count() and order):
        executor.spin_once(1.0)
    for _ in range(5):
        order.clear()
        timer.reset()
        writer.publish(Bool())
        while not timer.is_ready():
            time.sleep(0.005)
        while len(order) < 2:
            executor.spin_once(1.0)
        assert order == ["word", "timer"]
    executor.shutdown()
