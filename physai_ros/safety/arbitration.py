"""Who is in control: the operator before the policy."""

from __future__ import annotations

from typing import NamedTuple

from physai_ros.robot.action import Intervention, RobotAction
from physai_ros.robot.command import CommandSource


class Choice(NamedTuple):
    """Whose action is to be judged in this cycle; `action` is None when nobody's is, `reason` says why."""

    source: CommandSource
    action: RobotAction | None
    reason: str = ""


class Arbiter:
    """Gives control to an operator whose enable switch is held and whose lease runs, else to the policy.

    After a release, and after `bar`, the policy gets control back only by a proposal for a later state: one made
    knowing where the command stands.
    """

    def __init__(self, lease: float, proposal_timeout: float, proposal_age_cycles: int) -> None:
        self._lease = lease
        self._timeout = proposal_timeout
        self._age = proposal_age_cycles
        self._seen: tuple[float, int] | None = None
        self._proposed: tuple[int, int] | None = None
        self._came = self._made = 0.0
        self._barred = -1
        self._operator = False

    def bar(self, state_sequence: int) -> None:
        """Ignore what was proposed for states up to `state_sequence`."""
        self._barred = state_sequence
        self._operator = False

    def choose(
        self, intervention: Intervention | None, proposal: RobotAction | None, state_sequence: int, now: float
    ) -> Choice:
        """Decide for the state `state_sequence` at `now` [s], the clock that leases and time-outs count on."""
        held, reason = self._operator_holds(intervention, now)
        if held:
            self._operator = True
            return Choice(CommandSource.OPERATOR, None if reason else intervention.action, reason)
        if self._operator:
            self.bar(state_sequence)
            return Choice(CommandSource.HOLD, None, "operator_released")
        return self._policy(proposal, state_sequence, now)

    def _operator_holds(self, intervention: Intervention | None, now: float) -> tuple[bool, str]:
        if intervention is None or not intervention.enable:
            return False, ""
        key = (intervention.stamp, intervention.action.sequence)
        if key != self._seen:
            self._seen, self._came = key, now
        lease = intervention.lease
        if not lease > 0:  # NaN as well
            # The switch is held, so the policy must not have control; but nothing says what for how long.
            return (True, "intervention_invalid") if now - self._came <= self._lease else (False, "")
        return now - self._came <= min(lease, self._lease) + 1e-9, ""

    def _policy(self, proposal: RobotAction | None, state_sequence: int, now: float) -> Choice:
        if proposal is None:
            return Choice(CommandSource.HOLD, None, "no_proposal")
        key = (proposal.sequence, proposal.state_sequence)
        if key != self._proposed:
            self._proposed, self._made = key, now
        age = state_sequence - proposal.state_sequence
        if proposal.state_sequence <= self._barred:
            return Choice(CommandSource.HOLD, None, "proposal_awaited")
        if age > self._age or now - self._made > self._timeout + 1e-9:
            return Choice(CommandSource.HOLD, None, "proposal_stale")
        if age < -self._age:
            return Choice(CommandSource.HOLD, None, "proposal_of_another_run")
        return Choice(CommandSource.POLICY, proposal)
