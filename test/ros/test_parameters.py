"""One dataclass is the default, in code, in ROS and in a file."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from physai_ros import nodes
from physai_ros.ros.parameters import ParameterError, as_mapping, declare, parameter


@dataclass(frozen=True)
class Example:
    """A parameter of every kind."""

    rate: float = parameter(100.0, "Rate [Hz].", minimum=1.0, maximum=1000.0)
    count: int = parameter(3, "Count.", minimum=0)
    mode: str = parameter("slow", "Mode.", choices=("slow", "fast"))
    on: bool = parameter(False, "Switch.")
    names: tuple[str, ...] = parameter((), "Names.")
    values: tuple[float, ...] = parameter((1.0,), "Values.")


@pytest.fixture
def make_node() -> Iterator:
    rclpy.init()
    made = []

    def make(values: dict) -> Node:
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        made.append(Node("example", parameter_overrides=overrides))
        return made[-1]

    yield make
    for node in made:
        node.destroy_node()
    rclpy.shutdown()


def parameter_classes() -> list[tuple[str, type]]:
    found = []
    for module in pkgutil.iter_modules(nodes.__path__):
        kind = getattr(importlib.import_module(f"physai_ros.nodes.{module.name}"), "Parameters", None)
        if kind is not None:
            found.append((module.name, kind))
    return found


@pytest.mark.parametrize(("name", "kind"), parameter_classes())
def test_defaults_of_every_node_come_back_from_ros_and_from_a_file(name: str, kind: type, make_node) -> None:
    assert declare(make_node({}), kind) == kind()
    # An empty list has no type in a parameter file; whoever leaves it out gets it.
    file = {key: value for key, value in as_mapping(kind).items() if value != []}
    assert declare(make_node(file), kind) == kind()
    for field in dataclasses.fields(kind):
        assert field.metadata.get("description"), f"{name}.{field.name} has no description"


def test_ros_knows_description_range_and_that_a_parameter_is_fixed(make_node) -> None:
    node = make_node({"rate": 50, "names": ["a"], "mode": "fast"})
    parameters = declare(node, Example)
    assert parameters == Example(rate=50.0, names=("a",), mode="fast")
    assert node.get_parameter("rate").value == 50.0
    descriptor = node.describe_parameter("rate")
    assert descriptor.description == "Rate [Hz]."
    assert (descriptor.floating_point_range[0].from_value, descriptor.floating_point_range[0].to_value) == (1.0, 1000.0)
    assert descriptor.read_only
    assert node.describe_parameter("count").integer_range[0].from_value == 0
    assert node.describe_parameter("mode").additional_constraints == "one of slow, fast"
    assert not node.set_parameters([Parameter("rate", value=60.0)])[0].successful


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": 0.5}, "'rate' is 0.5; expected a number in 1 to 1000. Rate [Hz]."),
        ({"rate": float("nan")}, "'rate' is nan; expected a number in 1 to 1000"),
        ({"rate": "fast"}, "'rate' is 'fast'; expected a number"),
        ({"count": -1}, "'count' is -1; expected a number in 0 to inf"),
        ({"count": 1.5}, "'count' is 1.5; expected a whole number"),
        ({"count": True}, "'count' is True; expected a whole number"),
        ({"mode": "medium"}, "'mode' is 'medium'; expected one of slow, fast"),
        ({"on": 1}, "'on' is 1; expected true or false"),
        ({"names": "a"}, "'names' is 'a'; expected a list, each a text"),
        ({"values": ["a"]}, "'values' is 'a'; expected a number"),
        ({"speed": 1.0}, "unknown parameter 'speed'; known are: count, mode, names, on, rate, values"),
    ],
)
def test_refusals_say_what_was_given_what_was_expected_and_what_to_do(given: dict, said: str, make_node) -> None:
    with pytest.raises(ParameterError) as caught:
        declare(make_node(given), Example)
    message = str(caught.value)
    assert said in message
    assert message.startswith("/example: ")
    assert "Correct it" in message
    assert "\n" not in message
