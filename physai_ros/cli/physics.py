"""Options that say which arm is simulated."""

from __future__ import annotations

from typing import Annotated

import typer

Shift = Annotated[
    int | None, typer.Option("--shift", help="Simulate the shifted arm of this seed.", show_default="the nominal arm")
]
Physics = Annotated[
    list[str] | None, typer.Option("--physics", help="name=value of a physics parameter; may be repeated.")
]


def physics_values(shift: int | None, settings: list[str] | None) -> dict[str, float]:
    """Physics parameters by name, as the options give them; empty for the nominal arm.

    Raises:
        ValueError: a setting is not name=value, or is unknown or out of range.
    """
    from physai_ros.simulation.physics import PhysicsParameters, shifted_arm

    given = {}
    for setting in settings or []:
        name, separator, value = setting.partition("=")
        try:
            given[name.strip()] = float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise ValueError(f"--physics {setting}: expected name=value, such as object_friction=0.7")
    if shift is None and not given:
        return {}
    physics = PhysicsParameters() if shift is None else shifted_arm(shift)
    return physics.with_values(given).values()
