"""Services round an arm's controllers: switching them, and recovering from a fault step by step."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from typing import Any

from rclpy.node import Node

from physai_ros.drivers.driver import DriverError
from physai_ros.ros.ros2_control.connection import Connection, RecoveryStep

_PATIENCE = 5.0  # [s] with a service


def interface(name: str) -> type:
    """Class of an interface such as `std_srvs/srv/Trigger`.

    Raises:
        DriverError: the package is not installed here, or has no such interface.
    """
    package, _, rest = name.partition("/")
    kind, _, class_name = rest.partition("/")
    try:
        return getattr(importlib.import_module(f"{package}.{kind}"), class_name)
    except (ImportError, AttributeError) as error:
        raise DriverError(
            f"interface {name!r} is not installed here ({error}); install the ROS package '{package}', or correct the "
            "name (package/srv/Type)"
        ) from error


def call(node: Node, kind: type, service: str, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any response
    """Response of a service; the node must be spun by somebody else.

    Raises:
        DriverError: nobody serves it, it does not answer, or a field is not the request's.
    """
    client = node.create_client(kind, service)
    try:
        if not client.wait_for_service(_PATIENCE):
            raise DriverError(f"nobody serves {client.srv_name} within {_PATIENCE:g} s; is the arm's driver running?")
        try:
            request = kind.Request(**fields)
        except (AssertionError, TypeError, AttributeError) as error:
            raise DriverError(f"{service}: request {dict(fields)!r} does not fit {kind.__name__}: {error}") from error
        future = client.call_async(request)
        until = time.monotonic() + _PATIENCE
        while not future.done():
            if time.monotonic() > until:
                raise DriverError(f"{client.srv_name} did not answer within {_PATIENCE:g} s")
            time.sleep(0.002)
        return future.result()
    finally:
        node.destroy_client(client)


def take_step(node: Node, step: RecoveryStep) -> bool:
    """Whether one step of a recovery was done; a response without `success` (or `ret` of xArm) counts as done."""
    response = call(node, interface(step.type), step.service, step.request)
    if hasattr(response, "success"):
        return bool(response.success)
    return getattr(response, "ret", 0) == 0


def switch_controllers(node: Node, connection: Connection) -> bool:
    """Activate our controller in place of those it takes over from; False where this machine has no way to do so.

    Strict: either all of it is done or nothing. `controller_manager_msgs` is part of an installed ros2_control; where
    it is absent, the controllers must have been switched by whoever brought the arm up.

    Raises:
        DriverError: the controller manager refuses or does not answer.
    """
    try:
        kind = interface("controller_manager_msgs/srv/SwitchController")
        listing = interface("controller_manager_msgs/srv/ListControllers")
    except DriverError:
        return False
    manager = connection.controller_manager
    states = {each.name: each.state for each in call(node, listing, f"{manager}/list_controllers", {}).controller}
    if connection.controller not in states:
        known = ", ".join(sorted(states)) or "none"
        raise DriverError(f"{manager} has no controller '{connection.controller}'; loaded are: {known}; load it first")
    on = [name for name in [connection.controller] if states[name] != "active"]
    off = [name for name in connection.deactivate if states.get(name) == "active"]
    if not on and not off:
        return True
    request = {"activate_controllers": on, "deactivate_controllers": off, "strictness": kind.Request.STRICT}
    response = call(node, kind, f"{manager}/switch_controller", request)
    if not response.ok:
        raise DriverError(
            f"{manager} does not switch {', '.join(off) or 'nothing'} to {', '.join(on) or 'nothing'}: "
            f"{getattr(response, 'message', '') or 'no reason given'}; see the controller manager's log"
        )
    return True
