"""What is heard of a graph before, during and after a fault, and the figures that are made of it."""

from __future__ import annotations

import math
import time
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.safety.limits import SafetyLimits

if TYPE_CHECKING:
    from physai_ros.ros.graph_monitor import GraphMonitor

DRIVER_STOPS = "driver: plays the verified stop"
_STILL = 5  # equal set-points in a row that are rest; one or two are a command that came late
_ON_PATH = 2e-3  # [rad] from a sample of the verified stop
_LATEST = 4  # cycles that one command may make good for, by the driver's guard
_RESET = 0.08  # [rad] a cycle, further than any joint can go: the world was reset
_HOLDING = (0, 3)  # SafeCommand.SOURCE_HOLD and SOURCE_STOP
_STOPPING, _STOPPED_MODE = 2, 3  # DriverState.MODE_*
_HOLD, _STOPPED = 3, 4  # SafetyStatus.*


class State(NamedTuple):
    """One driver state: when it came, its sequence, set-point and measured joints (n_joints,), mode."""

    time: float
    sequence: int
    commanded: np.ndarray
    measured: np.ndarray
    mode: int


class Command(NamedTuple):
    """One safe_command: when it came, the state that it answers, source, reasons, its positions and its stop."""

    time: float
    state_sequence: int
    source: int
    reasons: tuple[str, ...]
    path: np.ndarray


class Status(NamedTuple):
    """One safety_status: when it came, state and reasons."""

    time: float
    state: int
    reasons: tuple[str, ...]


class Findings(NamedTuple):
    """What a fault did to the arm.

    Attributes:
        detect: from the fault to the first sign of a reaction [s]; NaN: there was none.
        cycles: from the state that the driver had sent last to the first that was answered by a stop; -1: none was.
        rest: from the fault until the set-point stood [s]; NaN: it did not.
        stays: whether it then stood until the fault was over.
        bound: time in which the profile brakes from the speed at the reaction [s].
        reasons: named by safety after the fault, and what the driver did.
        holds, stops: whether safety held the arm; whether somebody latched STOPPED.
        off_path: largest distance of the set-point from the verified stops, from reaction to rest [rad].
        leap: largest step of the set-point as a share of what the velocity limits allow in the four cycles that a late
            command may make good for; resets of the world apart.
        start: largest first step of the set-point after it stood [rad]; resets of the world apart.
        outside: states whose set-point lies outside the joints' range.
        gap: longest time between two commands [s].
    """

    detect: float
    cycles: int
    rest: float
    stays: bool
    bound: float
    reasons: tuple[str, ...]
    holds: bool
    stops: bool
    off_path: float
    leap: float
    start: float
    outside: int
    gap: float


class Record:
    """The last seconds of a graph, and how fast its arm goes now."""

    def __init__(self, monitor: GraphMonitor, seconds: float = 90.0) -> None:
        self.spec = RobotSpec.load("fr3_sim")
        self._limits = SafetyLimits.from_spec(self.spec)
        self._kinematics = Kinematics(self.spec)
        rate = int(self.spec.control_rate)
        self.states: deque[State] = deque(maxlen=int(seconds * rate))
        self.commands: deque[Command] = deque(maxlen=int(seconds * rate))
        self.statuses: deque[Status] = deque(maxlen=int(seconds * 50))
        self.episodes: dict[str, float] = {}
        self.starts: set[int] = set()
        self.share = 0.0
        if monitor.episode is not None:
            self._hear(monitor.episode)
        monitor.hooks.append(self._hear)

    def since(self, instant: float) -> tuple[list[State], list[Command], list[Status]]:
        """What came after `instant` [s], steady clock."""
        return tuple([each for each in list(kept) if each.time >= instant] for kept in self._kept)

    @property
    def _kept(self) -> tuple[deque, deque, deque]:
        return self.states, self.commands, self.statuses

    def _hear(self, message: object) -> None:
        from physai_ros.msg import DriverState, EpisodeContext, SafeCommand, SafetyStatus

        now = time.monotonic()
        if isinstance(message, DriverState):
            commanded = np.array(message.commanded_positions)
            state = State(now, message.sequence, commanded, np.array(message.joint_positions), message.mode)
            self.share = self._speed_share(state)
            self.states.append(state)
        elif isinstance(message, SafeCommand):
            positions = np.array(message.positions)
            path = np.vstack([positions, np.array(message.stop.positions).reshape(-1, positions.size)])
            self.commands.append(Command(now, message.state_sequence, message.source, tuple(message.reasons), path))
        elif isinstance(message, SafetyStatus):
            self.statuses.append(Status(now, message.state, tuple(message.reasons)))
        elif isinstance(message, EpisodeContext) and message.phase == EpisodeContext.PHASE_RUNNING:
            self.episodes.setdefault(message.episode_id, now)
            self.starts.add(message.start_sequence)

    def _speed_share(self, state: State) -> float:
        """Share of its permitted speed at which the set-point moves, by the limit that is nearest."""
        if not self.states or not 0 < state.sequence - self.states[-1].sequence <= 5:
            return 0.0
        before = self.states[-1]
        if self._is_reset(before, state):
            return 0.0  # between two episodes: no speed, and no moment for a fault
        velocities = (state.commanded - before.commanded) / (
            (state.sequence - before.sequence) * self.spec.control_period
        )
        tool = float(np.linalg.norm(self._kinematics.jacobian(state.commanded)[:3] @ velocities))
        return max(tool / self._limits.tool_speed, float((np.abs(velocities) / self._limits.velocity).max()))

    def findings(self, fault: float, over: float, until: float, *, by_command: bool = False) -> Findings:
        """Figures of a fault that came at `fault`, was `over`, and had been recovered from at `until` [s].

        The instants are on the steady clock. `by_command`: only a command or what the driver does counts as a reaction,
        not what is said.
        """
        states, commands, statuses = self.since(fault - 0.3)
        after = [state for state in states if state.time > fault]
        reactions = [c.time for c in commands if c.time > fault and c.source in _HOLDING]
        reactions += [s.time for s in after if s.mode in (_STOPPING, _STOPPED_MODE)]
        if not by_command:
            reactions += [s.time for s in statuses if s.time > fault and s.state >= _HOLD]
        reaction = min((time for time in reactions if time <= over), default=math.nan)
        during = [state for state in after if state.time <= over]
        rest = _rest(during)
        standing = during[rest:] if rest >= 0 else []
        reset = next((i for i in range(1, len(standing)) if self._is_reset(*standing[i - 1 : i + 1])), len(standing))
        return Findings(
            detect=reaction - fault,
            cycles=_cycles(states, commands, fault),
            rest=(during[rest].time - fault) if rest >= 0 else math.nan,
            stays=rest >= 0 and all((s.commanded == standing[0].commanded).all() for s in standing[:reset]),
            bound=self._braking(states, fault, reaction),
            reasons=_named(during, commands, statuses, fault, over),
            holds=not math.isnan(reaction),
            stops=any(s.state == _STOPPED for s in statuses if fault < s.time <= over)
            or any(s.mode in (_STOPPING, _STOPPED_MODE) for s in during),
            off_path=_off_path(during[: rest + 1], commands, reaction),
            leap=self._leap([state for state in states if state.time <= until]),
            start=self._start([state for state in states if state.time <= until]),
            outside=sum(
                bool((s.commanded < self.spec.position_lower).any() or (s.commanded > self.spec.position_upper).any())
                for s in after
            ),
            gap=_gap([c.time for c in commands if fault <= c.time <= over], fault, over),
        )

    def _braking(self, states: list[State], fault: float, reaction: float) -> float:
        """Time of the profile from the fastest set-point up to the reaction: v / a, and the ramps of a [s]."""
        spec, end = self.spec, fault if math.isnan(reaction) else reaction
        speed = np.zeros(len(spec.joint_names))
        for before, state in pairwise(states):
            cycles = state.sequence - before.sequence
            if fault - 0.05 <= state.time <= end and 0 < cycles <= 5:
                speed = np.maximum(speed, np.abs(state.commanded - before.commanded) / (cycles * spec.control_period))
        ramps = 2.0 * spec.acceleration_limits / spec.jerk_limits
        return float((speed / spec.acceleration_limits + ramps).max()) + spec.control_period

    def _leap(self, states: list[State]) -> float:
        allowed = self.spec.velocity_limits * _LATEST * self.spec.control_period
        steps = [np.abs(b.commanded - a.commanded) / allowed for a, b in pairwise(states) if self._follows(a, b)]
        return float(np.max(steps, initial=0.0))

    def _start(self, states: list[State]) -> float:
        largest, still = 0.0, 0
        for before, state in pairwise(states):
            step = float(np.abs(state.commanded - before.commanded).max())
            if not self._follows(before, state):
                still = 0
            elif step == 0.0:
                still += 1
            else:
                largest, still = max(largest, step if still >= _STILL else 0.0), 0
        return largest

    def _follows(self, before: State, state: State) -> bool:
        """Whether a state is the next of the same run of the driver, or nearly so, in a world that was not reset."""
        return 0 < state.sequence - before.sequence <= 2 and not self._is_reset(before, state)

    def _is_reset(self, before: State, state: State) -> bool:
        """Whether the world was reset between two states: that moves the arm itself, and begins an episode."""
        cycles = max(state.sequence - before.sequence, 1)
        moved = float(np.abs(state.measured - before.measured).max())
        return moved > cycles * _RESET or any(before.sequence < each <= state.sequence for each in self.starts)


def _rest(states: list[State]) -> int:
    """Index of the state from which on the set-point stands, -1 where it does not."""
    still = 0
    for index in range(1, len(states)):
        still = still + 1 if (states[index].commanded == states[index - 1].commanded).all() else 0
        if still == _STILL:
            return index - _STILL
    return -1


def _cycles(states: list[State], commands: list[Command], fault: float) -> int:
    """Cycles from the last state before the fault to the first that is answered by a stop, by safety or the driver."""
    last = next((state.sequence for state in reversed(states) if state.time <= fault), None)
    answered = [c.state_sequence for c in commands if c.time > fault and c.source in _HOLDING]
    answered += [s.sequence for s in states if s.time > fault and s.mode in (_STOPPING, _STOPPED_MODE)]
    return -1 if last is None or not answered else min(answered) - last


def _named(
    states: list[State], commands: list[Command], statuses: list[Status], fault: float, over: float
) -> tuple[str, ...]:
    named = [name for c in commands if fault < c.time <= over and c.source in _HOLDING for name in c.reasons]
    named += [name for s in statuses if fault < s.time <= over and s.state >= _HOLD for name in s.reasons]
    if any(state.mode in (_STOPPING, _STOPPED_MODE) for state in states):
        named.append(DRIVER_STOPS)
    return tuple(dict.fromkeys(named))


def _off_path(states: list[State], commands: list[Command], reaction: float) -> float:
    moving = [state for state in states if state.time >= reaction]
    if not moving:
        return 0.0
    paths = [c.path for c in commands if reaction - 0.3 <= c.time <= moving[-1].time]
    if not paths:
        return math.inf
    samples = np.vstack(paths)
    return max(float(np.abs(samples - state.commanded).max(axis=1).min()) for state in moving)


def _gap(times: list[float], begin: float, end: float) -> float:
    return float(np.diff([begin, *times, end]).max())
