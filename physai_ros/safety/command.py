"""Commands, under the name of the room that makes them."""

from physai_ros.robot.command import CommandSource, SafeCommand, StopTrajectory

__all__ = ["CommandSource", "SafeCommand", "StopTrajectory"]
