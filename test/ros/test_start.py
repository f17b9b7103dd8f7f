"""What a node imports is time until it is back after a kill, and memory: heavy libraries come only where they work."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "mujoco", "scipy.stats", "scipy.signal", "scipy.integrate", "matplotlib")
WORKS_WITH = {"driver_node": ("mujoco",)}


@pytest.mark.parametrize(
    "node",
    [
        "driver_node",
        "episode_manager",
        "feedback_collector",
        "lifecycle_manager",
        "operator",
        "safety_monitor",
        "sensor_fusion",
        "teleoperator",
        "workcell",
    ],
)
def test_a_node_imports_what_it_works_with(node):
    script = f"import sys, physai_ros.nodes.{node}; print(*(name for name in {HEAVY} if name in sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert tuple(said.split()) == WORKS_WITH.get(node, ())
