"""The state of the safety monitor, from named conditions with separate trigger and release counts."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class SafetyState(IntEnum):
    """How far the arm may be moved, the more restrictive the higher; values as in SafetyStatus.msg."""

    INACTIVE = 0
    NOMINAL = 1
    LIMITED = 2
    HOLD = 3
    STOPPED = 4


class Rule(NamedTuple):
    """What a condition leads to: `state` after `trigger` cycles in a row, left after `release` cycles without it.

    `slows`: the speed limits are reduced while the rule holds.
    """

    state: SafetyState
    trigger: int = 1
    release: int = 1
    slows: bool = False


class SafetyStateMachine:
    """INACTIVE -> NOMINAL <-> LIMITED -> HOLD -> STOPPED; the most restrictive rule wins, STOPPED latches.

    A condition that has no rule stops the arm: what nobody thought of must not be waved through.
    """

    def __init__(self, rules: dict[str, Rule]) -> None:
        self._rules = rules
        self._unknown = Rule(SafetyState.STOPPED)
        self._counts: dict[str, int] = {}
        self._active: dict[str, int] = {}
        self._latched: dict[str, None] = {}
        self.state = SafetyState.INACTIVE
        self.stops = 0

    def activate(self, reason: str) -> None:
        """Leave INACTIVE, latched in STOPPED with `reason` until `resume`."""
        self._counts.clear()
        self._active.clear()
        self._latched = {reason: None}
        self.state = SafetyState.STOPPED

    def deactivate(self) -> None:
        """Forget everything; nothing is permitted."""
        self._counts.clear()
        self._active.clear()
        self._latched.clear()
        self.state = SafetyState.INACTIVE

    def update(self, conditions: set[str]) -> SafetyState:
        """State after one more cycle in which `conditions` were observed."""
        if self.state == SafetyState.INACTIVE:
            return self.state
        if not conditions and not self._counts and not self._active and not self._latched:
            self.state = SafetyState.NOMINAL
            return self.state
        for name in [name for name in self._counts if name not in conditions]:
            del self._counts[name]
        for name in conditions:
            rule = self._rules.get(name, self._unknown)
            count = self._counts[name] = self._counts.get(name, 0) + 1
            if count >= rule.trigger or name in self._active:
                self._active[name] = rule.release
                if rule.state == SafetyState.STOPPED:
                    self.latch(name)
        for name in [name for name in self._active if name not in conditions]:
            self._active[name] -= 1
            if self._active[name] <= 0:
                del self._active[name]
        states = [self._rules.get(name, self._unknown).state for name in self._active]
        self.state = SafetyState.STOPPED if self._latched else max(states, default=SafetyState.NOMINAL)
        return self.state

    def forget(self) -> None:
        """Let go of what is held only for a while after its cause has gone; a stop stays latched."""
        self._counts.clear()
        self._active.clear()

    def latch(self, reason: str) -> None:
        """Enter STOPPED now, until `resume`."""
        if self.state == SafetyState.INACTIVE:
            return
        if not self._latched:
            self.stops += 1
        self._latched[reason] = None
        self.state = SafetyState.STOPPED

    def resume(self) -> str:
        """Leave STOPPED for HOLD; returns why not, empty when done.

        Everything observed before is forgotten: a cause that lasts stops the arm again after its trigger count, and one
        that went away while nobody decided (a reset in lock-step) does not stand in the way.
        """
        if self.state == SafetyState.INACTIVE:
            return "the safety monitor is not active; activate it first"
        if self._latched:
            self._latched.clear()
            self._counts.clear()
            self._active = {"proposal_awaited": 1}
            self.state = SafetyState.HOLD
        return ""

    @property
    def slowed(self) -> bool:
        """Whether a rule that holds reduces the speed limits."""
        return any(self._rules.get(name, self._unknown).slows for name in self._active)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names behind the state, the most restrictive first."""
        held = sorted(self._active, key=lambda name: -self._rules.get(name, self._unknown).state)
        return tuple(dict.fromkeys([*self._latched, *held]))
