"""The launch files under the real launch packages, where they are installed: arguments, and what is made of them."""

from __future__ import annotations

import asyncio
import importlib.util
import uuid

import pytest
import yaml

launch = pytest.importorskip("launch", reason="launch comes with an installed ROS 2")
pytest.importorskip("launch_ros", reason="launch_ros comes with an installed ROS 2")

from launch.actions import DeclareLaunchArgument, ExecuteProcess  # noqa: E402
from launch_ros.actions import Node  # noqa: E402

from physai_ros.deployment.graph import load_graph  # noqa: E402
from physai_ros.robot.share import share_path  # noqa: E402

FILES = ("sim", "gazebo", "robot", "evaluate", "rviz")
GIVEN = {"robot": {"robot": "fr3_sim"}, "gazebo": {"gz": "false"}}


def describe(name: str) -> launch.LaunchDescription:
    path = share_path("launch", f"{name}.launch.py")
    spec = importlib.util.spec_from_file_location(f"{name}_launch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def actions(name: str, tmp_path, **arguments: str) -> list:
    """What a launch file starts with these arguments, without starting it."""
    context = launch.LaunchContext(argv=[])
    context._set_asyncio_loop(asyncio.new_event_loop())
    given = {"run": str(tmp_path), "namespace": f"launch_{uuid.uuid4().hex[:8]}", **GIVEN.get(name, {}), **arguments}
    context.launch_configurations.update(given)
    made = []
    todo = list(describe(name).entities)
    while todo:
        entity = todo.pop(0)
        if isinstance(entity, ExecuteProcess):
            made.append(entity)
        else:
            todo = [*(entity.visit(context) or []), *todo]
    return made


@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described(name):
    declared = [e for e in describe(name).entities if isinstance(e, DeclareLaunchArgument)]
    assert declared
    for argument in declared:
        assert argument.description and argument.description.endswith(".")


@pytest.mark.parametrize("name", ["sim", "gazebo", "robot"])
def test_what_is_started_is_the_graph(name, tmp_path):
    nodes = [a for a in actions(name, tmp_path) if isinstance(a, Node)]
    names = [node._Node__node_name for node in nodes]
    assert names[:-1] == [process.name for process in load_graph(name).in_order]
    assert names[-1] == "rviz"
    for node, process in zip(nodes, load_graph(name).in_order, strict=False):
        assert node._ExecuteLocal__respawn == (process.restart != "never" and process.managed)


def parameters_of(node: Node) -> dict:
    """Parameters that are given as values, later ones over earlier ones."""
    found = {}
    for given in node._Node__parameters:
        if isinstance(given, dict):
            for key, value in given.items():
                name = key if isinstance(key, str) else "".join(part.text for part in key)
                # launch keeps words as YAML.
                found[name] = yaml.safe_load("".join(p.text for p in value)) if isinstance(value, tuple) else value
    return found


@pytest.mark.parametrize(
    ("name", "argument", "value", "nodes"),
    [
        ("sim", "seed", "7", ("driver_node", "sparse_trainer", "evaluator", "episode_manager")),
        ("sim", "task", "reach", ("driver_node", "sensor_fusion", "policy_inference", "episode_manager")),
        ("sim", "use_sim_time", "true", ("driver_node", "safety_monitor")),
        ("gazebo", "mode", "paced", ("gazebo_driver", "policy_inference")),
        ("robot", "robot", "fr3_sim", ("hardware_node", "safety_monitor", "sensor_fusion", "workcell")),
        ("robot", "sink_without_timeout", "a person stands by", ("hardware_node", "safety_monitor")),
    ],
)
def test_arguments_are_passed_on(name, argument, value, nodes, tmp_path):
    started = actions(name, tmp_path, **{argument: value})
    made = {node._Node__node_name: node for node in started if isinstance(node, Node)}
    expected = {"true": True}.get(value, int(value) if value.isdecimal() else value)
    for node in nodes:
        assert parameters_of(made[node])[argument] == expected, node


def test_a_real_arm_must_be_named(tmp_path):
    with pytest.raises((ValueError, RuntimeError)):
        actions("robot", tmp_path, robot="")


def test_an_evaluation_is_the_command(tmp_path):
    (made,) = actions("evaluate", tmp_path, task="reach", episodes="3", json="out.json")
    words = [part.text for word in made.cmd for part in word]
    assert words[words.index("--task") + 1] == "reach"
    assert words[words.index("--episodes") + 1] == "3"
    assert words[words.index("--json") + 1] == "out.json"
    assert "--against" not in words
