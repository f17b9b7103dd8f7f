"""What a robot's configuration says under `connection`, read into the dataclass that its driver wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from physai_ros.drivers.driver import DriverError

Connection = TypeVar("Connection")


def read_connection(kind: type[Connection], given: Mapping[str, Any], robot: str) -> Connection:
    """An object of the dataclass `kind` with the values `given`; keys without a default must be there.

    Raises:
        DriverError: a key is unknown or missing, or a value has another type than its field.
    """
    known = {field.name: field for field in fields(kind)}
    types = get_type_hints(kind)
    for key in given:
        if key not in known:
            raise DriverError(f"connection of robot '{robot}': unknown key '{key}'; known are: {', '.join(known)}")
    values = {}
    for key, field in known.items():
        if key in given:
            values[key] = _checked(given[key], types[key], key, robot)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise DriverError(f"connection of robot '{robot}': key '{key}' is missing; add it")
    try:
        return kind(**values)
    except ValueError as error:
        raise DriverError(f"connection of robot '{robot}': {error}") from error


def _checked(value: Any, wanted: Any, key: str, robot: str) -> Any:  # noqa: ANN401 - values of a configuration
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is tuple or getattr(wanted, "__origin__", None) is tuple:
        if isinstance(value, list | tuple):
            element = getattr(wanted, "__args__", (object,))[0]
            return tuple(_checked(item, element, key, robot) for item in value)
    elif isinstance(value, wanted) and not (wanted is not bool and isinstance(value, bool)):
        return value
    name = getattr(wanted, "__name__", str(wanted))
    raise DriverError(f"connection of robot '{robot}': {key} is {value!r}; expected {name}")
