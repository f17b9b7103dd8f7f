"""Which words count, and whom a decision waits for where time advances by answers."""

from __future__ import annotations

from physai_ros.robot.action import Intervention, RobotAction

_PATIENCE = 0.5  # [s] of wall time
_ROUNDING = 1e-6  # [s]
_REORDERED = 100  # states; further behind is another run of the driver


class LockStepGate:
    """Opens when all who may move the arm have spoken for a state: what happens must not depend on who is faster.

    The policy has to speak at every state: an operator in control goes on without it only after 0.5 s of wall time. An
    operator has to speak once one is there, if only to say that the switch is not held, and for how long it will not be
    (the word's lease); after 0.5 s without a word nobody waits for the operator until the next one. A proposal may
    overtake the news of its episode: it is kept until it is known who may intervene in that episode.
    """

    def __init__(self) -> None:
        self.proposal: RobotAction | None = None
        self.intervention: Intervention | None = None
        self._operator = False
        self._episode_id = ""
        self._sequence = -1
        self._since = 0.0

    def hear_episode(self, episode_id: str, operator: bool) -> None:
        """Take in which episode runs, and whether an operator may intervene in it from its first state on."""
        self._episode_id, self._operator = episode_id, operator

    def hear_proposal(self, proposal: RobotAction) -> None:
        """Take the policy's newest word; one that was overtaken on its way is dropped.

        A policy that restarts counts its words from one again, but answers later states.
        """
        if self.proposal is None or not _precedes(proposal, self.proposal):
            self.proposal = proposal

    def hear_intervention(self, intervention: Intervention) -> None:
        """Take the operator's newest word; one that was overtaken must not take control again after a release."""
        before = self.intervention
        if before is not None and intervention.stamp < before.stamp:
            if intervention.action.sequence < before.action.sequence:
                return
        self.intervention = intervention
        self._operator = True

    def intervention_for(self, sequence: int) -> Intervention | None:
        """The operator's word for the state `sequence`, None where there is none.

        Time stands between episodes, so a lease alone would carry the last word of one episode into the next.
        """
        word = self.intervention
        return word if word is not None and word.action.state_sequence == sequence else None

    def is_open(self, sequence: int, stamp: float, wall_time: float) -> bool:
        """Whether the state `sequence` of `stamp` [s] can be decided on at `wall_time` [s], on a steady clock."""
        if sequence != self._sequence:
            self._sequence, self._since = sequence, wall_time
        patient = wall_time - self._since <= _PATIENCE
        word = self.intervention_for(sequence)
        missing = word is None and not self._is_left_alone(stamp)
        if missing and not patient:
            self._operator = False
        if missing and self._operator:
            return False
        proposal = self.proposal
        if proposal is not None and proposal.state_sequence == sequence:
            return proposal.episode_id == self._episode_id or not patient
        # An operator in control needs no policy, but time must not run ahead of those who see and record.
        return word is not None and word.enable and not patient

    def _is_left_alone(self, stamp: float) -> bool:
        """Whether the operator's last word, of this episode, was to keep hands off beyond `stamp` [s]."""
        word = self.intervention
        if word is None or word.enable or word.action.episode_id != self._episode_id:
            return False
        return word.stamp <= stamp < word.stamp + word.lease - _ROUNDING


def _precedes(word: RobotAction, newest: RobotAction) -> bool:
    late = newest.state_sequence - word.state_sequence
    return word.sequence < newest.sequence and 0 < late <= _REORDERED
