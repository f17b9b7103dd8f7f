"""A node's parameters: one frozen dataclass, declared to ROS by one helper.

    @dataclass(frozen=True)
    class Parameters:
        rate: float = parameter(100.0, "Control rate [Hz].", minimum=1.0, maximum=1000.0)
        mode: str = parameter("paced", "Who drives time.", choices=("paced", "lock_step"))

The defaults of the dataclass are the defaults; `as_mapping` gives the same ones to a parameter file.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

_Parameters = TypeVar("_Parameters")

_SINGLE = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
}
_SEQUENCE = {
    bool: Parameter.Type.BOOL_ARRAY,
    int: Parameter.Type.INTEGER_ARRAY,
    float: Parameter.Type.DOUBLE_ARRAY,
    str: Parameter.Type.STRING_ARRAY,
}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
_OF_ROS = ("use_sim_time", "start_type_description_service")
_LARGEST_INTEGER = 2**63 - 1


class ParameterError(ValueError):
    """A parameter cannot be used; the message says what was given, what was expected and what to do."""


def parameter(
    default: Any,  # noqa: ANN401 - any type that ROS has
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
) -> Any:  # noqa: ANN401 - dataclasses.field's own type
    """A dataclass field with what ROS is told about it; bounds are inclusive, `description` names the unit."""
    metadata = {"description": description, "minimum": minimum, "maximum": maximum, "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=metadata)


def declare(node: Node, kind: type[_Parameters]) -> _Parameters:
    """The node's parameters, declared read-only with descriptors, checked, as one object of the dataclass `kind`.

    Raises:
        ParameterError: a parameter is unknown, of the wrong type or out of range.
    """
    where = node.get_fully_qualified_name()
    given = dict(node._parameter_overrides)  # noqa: SLF001 - rclpy has no public way to see undeclared ones
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in given:
        if name not in fields and name not in _OF_ROS and not name.startswith("qos_overrides."):
            known = ", ".join(sorted(fields)) or "none"
            raise ParameterError(
                f"{where}: unknown parameter '{name}'; known are: {known}. Correct it where it was given."
            )
    types = typing.get_type_hints(kind)
    values = {}
    for name, field in fields.items():
        value = given[name].value if name in given else field.default
        values[name] = check(where, field, types[name], value)
        kind_of_ros, plain = _for_ros(types[name], values[name])
        node.declare_parameter(
            name, Parameter(name, kind_of_ros, plain).value, _descriptor(field, kind_of_ros), ignore_override=True
        )
    return kind(**values)


def check(where: str, field: dataclasses.Field, kind: Any, value: Any) -> Any:  # noqa: ANN401 - any ROS type
    """The value as the dataclass holds it: numbers of the right kind, sequences as tuples.

    Raises:
        ParameterError: wrong type, out of range or not among the choices.
    """
    element = _element_type(kind)
    if element is None:
        return _check_single(where, field, kind, value)
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise ParameterError(_refusal(where, field, value, f"a list, each {_WORDS[element]}"))
    return tuple(_check_single(where, field, element, item) for item in value)


def as_mapping(kind: type) -> dict[str, Any]:
    """Defaults of a parameter dataclass, as a parameter file holds them."""
    types = typing.get_type_hints(kind)
    return {field.name: _for_ros(types[field.name], field.default)[1] for field in dataclasses.fields(kind)}


def _check_single(where: str, field: dataclasses.Field, kind: type, value: Any) -> Any:  # noqa: ANN401
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)  # YAML writes 100 where 100.0 is meant
    if type(value) is not kind:
        raise ParameterError(_refusal(where, field, value, _WORDS[kind]))
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    if kind in (int, float):
        too_low = minimum is not None and not value >= minimum
        too_high = maximum is not None and not value <= maximum
        if too_low or too_high or math.isnan(value):
            bounds = (
                f"{'-inf' if minimum is None else f'{minimum:g}'} to {'inf' if maximum is None else f'{maximum:g}'}"
            )
            raise ParameterError(_refusal(where, field, value, f"a number in {bounds}"))
    choices = field.metadata.get("choices", ())
    if choices and value not in choices:
        raise ParameterError(_refusal(where, field, value, f"one of {', '.join(choices)}"))
    return value


def _refusal(where: str, field: dataclasses.Field, value: object, expected: str) -> str:
    hint = field.metadata.get("description", "")
    return f"{where}: parameter '{field.name}' is {value!r}; expected {expected}. {hint} Correct it where it was given."


def _element_type(kind: Any) -> type | None:  # noqa: ANN401
    """Type of the elements of `tuple[x, ...]`, None for a single value."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None


def _for_ros(kind: Any, value: Any) -> tuple[Parameter.Type, Any]:  # noqa: ANN401
    element = _element_type(kind)
    return (_SINGLE[kind], value) if element is None else (_SEQUENCE[element], list(value))


def _descriptor(field: dataclasses.Field, kind: Parameter.Type) -> ParameterDescriptor:
    metadata = field.metadata
    choices = metadata.get("choices", ())
    descriptor = ParameterDescriptor(
        name=field.name,
        type=kind.value,
        description=metadata.get("description", ""),
        additional_constraints=f"one of {', '.join(choices)}" if choices else "",
        read_only=True,
        dynamic_typing=True,  # an empty list has no type of its own; `check` has judged the type already
    )
    minimum, maximum = metadata.get("minimum"), metadata.get("maximum")
    if minimum is not None or maximum is not None:
        if kind is Parameter.Type.DOUBLE:
            bounds = FloatingPointRange(
                from_value=-math.inf if minimum is None else float(minimum),
                to_value=math.inf if maximum is None else float(maximum),
            )
            descriptor.floating_point_range = [bounds]
        elif kind is Parameter.Type.INTEGER:
            lower = -_LARGEST_INTEGER if minimum is None else int(minimum)
            upper = _LARGEST_INTEGER if maximum is None else int(maximum)
            descriptor.integer_range = [IntegerRange(from_value=lower, to_value=upper, step=1)]
    return descriptor
