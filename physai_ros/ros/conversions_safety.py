"""SafetyReport as a message."""

from physai_ros import msg
from physai_ros.ros.stamps import set_time
from physai_ros.safety.report import SafetyReport


def safety_status_message(report: SafetyReport, stamp: float) -> msg.SafetyStatus:
    """Message of what the safety monitor says of itself at `stamp` [s]."""
    message = msg.SafetyStatus()
    set_time(message.header.stamp, stamp)
    message.state = int(report.state)
    message.reasons = list(report.reasons)
    message.source = int(report.source)
    message.margin_names = list(report.margins)
    message.margins = list(report.margins.values())
    message.decisions = report.decisions
    message.altered = report.altered
    message.refused = report.refused
    message.stops = report.stops
    message.foreign_commands = report.foreign_commands
    return message
