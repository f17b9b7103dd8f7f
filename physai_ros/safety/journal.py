"""What of the safety monitor's work goes into the audit log: what it did to the arm, once when it begins and ends."""

from __future__ import annotations

import numpy as np

from physai_ros.robot.action import RobotAction
from physai_ros.robot.command import CommandSource, SafeCommand
from physai_ros.safety.audit import AuditLog
from physai_ros.safety.state_machine import SafetyState

_QUIET = 20  # cycles without an alteration after which one is over
_SMOOTHING = frozenset({"acceleration", "jerk"})  # following a little later is no intervention


class SafetyJournal:
    """Turns decisions, one a control cycle, into events: a condition that lasts is two lines, not a hundred a second.

    Events: `state` with its reasons on every change of either, `operator_takes_over` and `operator_hands_back`,
    `altered` when the filter begins to change what is proposed and `altered_no_more` with how often and how far, and
    whatever `note` is given. Without a log nothing is kept.
    """

    def __init__(self, log: AuditLog | None) -> None:
        self._log = log
        self._state: tuple[SafetyState, tuple[str, ...]] | None = None
        self._operator = False
        self._alteration: _Alteration | None = None

    @property
    def health(self) -> tuple[str, dict[str, object]]:
        """What is wrong with the log, empty while nothing is, and its last hash and counters for `/diagnostics`."""
        log = self._log
        if log is None:
            return "", {"audit_log": "none"}
        return log.error, {"audit_head": log.head, "audit_waiting": log.waiting, "audit_dropped": log.dropped}

    def close(self) -> None:
        """Write down the end of what is still going on, and close the log."""
        self._settle()
        if self._log is not None:
            self._log.close()

    def note(self, event: str, **values: object) -> None:
        """Write down what somebody asked for or what was found, as it is."""
        if self._log is not None:
            self._log.add(event, **values)

    def state(self, state: SafetyState, reasons: tuple[str, ...], **values: object) -> None:
        """Write down the state where it, or why it is, has changed."""
        if (state, reasons) != self._state:
            self._state = (state, reasons)
            self.note("state", state=state.name.lower(), reasons=reasons, **values)

    def decision(self, command: SafeCommand, proposal: RobotAction | None) -> None:
        """Take in what was permitted in answer to `proposal`."""
        operator = command.source == CommandSource.OPERATOR
        if operator != self._operator:
            self._operator = operator
            self.note(
                "operator_takes_over" if operator else "operator_hands_back", state_sequence=command.state_sequence
            )
        permitted = command.source in (CommandSource.POLICY, CommandSource.OPERATOR)
        limits = tuple(name for name in command.reasons if name not in _SMOOTHING)
        if permitted and command.altered and limits:
            if self._alteration is None:
                self._alteration = _Alteration()
                self.note("altered", limits=limits, state_sequence=command.state_sequence, episode=command.episode_id)
            self._alteration.add(limits, _distance(command, proposal))
        elif self._alteration is not None:
            self._alteration.quiet += 1
            if self._alteration.quiet > _QUIET or not permitted:
                self._settle()

    def _settle(self) -> None:
        if self._alteration is not None:
            each = self._alteration
            self.note("altered_no_more", limits=sorted(each.limits), cycles=each.cycles, farthest_rad=each.farthest)
            self._alteration = None


class _Alteration:
    """One stretch of altered commands: which limits, how many cycles, how far from what was proposed [rad]."""

    def __init__(self) -> None:
        self.limits: set[str] = set()
        self.cycles = self.quiet = 0
        self.farthest = 0.0

    def add(self, limits: tuple[str, ...], distance: float) -> None:
        self.limits |= set(limits)
        self.cycles += 1
        self.quiet = 0
        self.farthest = max(self.farthest, distance)


def _distance(command: SafeCommand, proposal: RobotAction | None) -> float:
    """Largest distance of a joint between what was permitted and proposed [rad], 0 where that cannot be said."""
    if proposal is None or proposal.joint_names != command.joint_names:
        return 0.0
    distance = np.abs(np.asarray(proposal.reference_positions, dtype=float) - command.positions).max()
    return float(distance) if np.isfinite(distance) else 0.0
