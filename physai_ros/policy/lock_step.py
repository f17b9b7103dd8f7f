"""The order in which a policy sees states and commands where time advances by answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from physai_ros.robot.state import RobotState

_PATIENCE = 3  # repeats of a measurement after which a command that was lost is no longer waited for
PICTURE_PATIENCE = 40
"""Repeats after which what belongs to a state is given up: two seconds, for a busy core draws pictures slowly."""
_REMEMBERED = 64


class LockStepOrder:
    """Hands out every state once, in order, when the command that answered the state before it is known.

    States and commands come on two topics; what a policy does must not depend on which is faster. Where an operator
    drives, time advances without the policy's word: it then follows, state by state.
    """

    def __init__(self) -> None:
        self._states: deque[RobotState] = deque()
        self._answered: dict[int, bool] = {}
        self._start = 0
        self._newest = -1
        self._repeats = 0

    def begin(self, start_sequence: int) -> None:
        """Begin an episode: its first state waits for no command, states before it are dropped."""
        self._start = start_sequence
        self._answered.clear()
        while self._states and self._states[0].sequence < start_sequence:
            self._states.popleft()

    def keep_newest(self) -> None:
        """Drop all but the newest state: no episode runs."""
        while len(self._states) > 1:
            self._states.popleft()

    def add_state(self, state: RobotState) -> None:
        """Take in a state; one that came before counts as a repeat, a lower number is a driver that started again."""
        if state.sequence == self._newest:
            self._repeats += 1
            return
        if state.sequence < self._newest:
            self._states.clear()
            self._answered.clear()
        self._newest, self._repeats = state.sequence, 0
        self._states.append(state)

    def add_command(self, state_sequence: int, by_policy: bool) -> None:
        """Take in that a state was answered, and whether it was with the policy's action."""
        self._answered[state_sequence] = by_policy
        while len(self._answered) > _REMEMBERED:
            self._answered.pop(next(iter(self._answered)))

    def next(self, ready: Callable[[RobotState], bool] = lambda _state: True) -> tuple[RobotState, bool] | None:
        """Next state whose turn it is, and whether the one before was answered otherwise than by the policy.

        `ready` says whether what belongs to the state has come, such as pictures of its instant; it is waited for as
        long as `PICTURE_PATIENCE` says.
        """
        if not self._states:
            return None
        state = self._states[0]
        by_policy = self._answered.get(state.sequence - 1)
        if by_policy is None and state.sequence > self._start and self._repeats < _PATIENCE:
            return None
        if self._repeats < PICTURE_PATIENCE and not ready(state):
            return None
        self._states.popleft()
        return state, by_policy is False
