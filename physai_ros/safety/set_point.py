"""The set-point, under the name of the room that guards it."""

from physai_ros.robot.set_point import SetPoint

__all__ = ["SetPoint"]
