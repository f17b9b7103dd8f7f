"""What the safety monitor says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from physai_ros.robot.command import CommandSource
from physai_ros.safety.state_machine import SafetyState


@dataclass(frozen=True)
class SafetyReport:
    """State, reasons, margins and counters; fields as in SafetyStatus.msg.

    `margins` are shares of each watched limit that are left, 1 (far) to 0 (at the limit).
    """

    state: SafetyState = SafetyState.INACTIVE
    reasons: tuple[str, ...] = ()
    source: CommandSource = CommandSource.HOLD
    margins: dict[str, float] = field(default_factory=dict)
    decisions: int = 0
    altered: int = 0
    refused: int = 0
    stops: int = 0
    foreign_commands: int = 0
