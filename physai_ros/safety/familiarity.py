"""The graded response to a policy that has left what it knows: slow, hold, ask the operator."""

from __future__ import annotations

from physai_ros.robot.action import ALARM_LEVEL
from physai_ros.robot.command import CommandSource
from physai_ros.safety.arbitration import Choice


class FamiliarityWatch:
    """Watches the uncertainty of what the policy proposes. Advisory: it never permits what another rule forbids.

    An alarm slows the arm at once (`out_of_distribution`). One that lasts `patience` cycles in a row holds it
    (`out_of_distribution_sustained`), and one that lasts twice as long asks for a person (`operator_needed`). That
    request stands until an operator takes over, `answer` is called (resume), or another episode begins.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._episode_id: str | None = None
        self.answer()

    def answer(self) -> None:
        """Forget alarms and the request: somebody has looked."""
        self._alarmed = 0
        self._asked = False

    def observe(self, choice: Choice) -> set[str]:
        """Conditions after one more cycle with this choice."""
        action = choice.action
        if choice.source == CommandSource.OPERATOR:
            self.answer()
            return set()
        if action is None or choice.source != CommandSource.POLICY:
            return {"operator_needed"} if self._asked else set()
        if action.episode_id != self._episode_id:
            self._episode_id = action.episode_id
            self.answer()
        # A policy that does not say how sure it is (NaN) has no alarm.
        self._alarmed = self._alarmed + 1 if action.uncertainty > ALARM_LEVEL else 0
        self._asked = self._asked or self._alarmed > 2 * self._patience
        conditions = {"operator_needed"} if self._asked else set()
        if self._alarmed:
            conditions.add("out_of_distribution")
        if self._alarmed > self._patience:
            conditions.add("out_of_distribution_sustained")
        return conditions
