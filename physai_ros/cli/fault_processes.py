"""Faults of processes: every node killed, every node frozen."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from physai_ros.cli.fault import DRIVER_DETECTION, Ending, Fault
from physai_ros.cli.fault_record import DRIVER_STOPS
from physai_ros.cli.fault_rig import Rig

_CONTROL = "control unaffected"


def _killed(node: str) -> Callable[[Rig], AbstractContextManager]:
    @contextmanager
    def bring_about(rig: Rig) -> Iterator[None]:
        os.kill(rig.pids[node], signal.SIGKILL)
        yield

    return bring_about


@contextmanager
def _all_killed(rig: Rig) -> Iterator[None]:
    for pid in rig.pids.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    yield


def _frozen(node: str) -> Callable[[Rig], AbstractContextManager]:
    @contextmanager
    def bring_about(rig: Rig) -> Iterator[None]:
        pid = rig.pids[node]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return bring_about


def _pair(
    part: str, node: str, killed: str, frozen: str, ending: Ending, reasons: tuple[str, ...] = (), **more: float
) -> tuple[Fault, Fault]:
    return (
        Fault(f"{part}_killed", killed, ending, _killed(node), reasons, restarts=node, **more),
        Fault(f"{part}_frozen", frozen, ending, _frozen(node), reasons, **more),
    )


FAULTS = (
    *_pair(
        "policy",
        "policy_inference",
        "hold within the action time-out; goes on when it is back",
        "hold within the action time-out; goes on when it is back",
        Ending.RESTS,
        ("proposal_stale", "no_proposal"),
    ),
    *_pair(
        "fusion",
        "sensor_fusion",
        "hold within the action time-out; goes on when it is back",
        "hold within the action time-out; goes on when it is back",
        Ending.RESTS,
        ("proposal_stale", "no_proposal"),
    ),
    *_pair(
        "safety",
        "safety_monitor",
        "the driver plays the verified stop; safety comes back STOPPED, the driver holds the latch",
        "the driver plays the verified stop and latches; safety finds it so",
        Ending.RESTS,
        (DRIVER_STOPS,),
        detection=DRIVER_DETECTION,
    ),
    *_pair(
        "driver",
        "driver_node",
        "safety: driver silent, then STOPPED; the driver comes back latched",
        "safety: driver silent, then STOPPED; the driver has played its stop when it is back",
        Ending.GONE,
        ("driver_silent", "driver_lost"),
    ),
    *_pair("trainer", "sparse_trainer", f"{_CONTROL}; resumes from its last durable state", _CONTROL, Ending.GOES_ON),
    *_pair("feedback", "feedback_collector", f"{_CONTROL}; the episode so far is recovered", _CONTROL, Ending.GOES_ON),
    *_pair("evaluator", "evaluator", _CONTROL, _CONTROL, Ending.GOES_ON),
    *_pair("operator", "operator", _CONTROL, _CONTROL, Ending.GOES_ON),
    *_pair("lifecycle", "lifecycle_manager", _CONTROL, _CONTROL, Ending.GOES_ON),
    *_pair("manager", "episode_manager", "the running episode ends safely; another begins", _CONTROL, Ending.GOES_ON),
    Fault(
        "graph_killed",
        "every node comes back, the arm stopped; the episode so far is recovered",
        Ending.GONE,
        _all_killed,
        detection=math.inf,
        restarts="driver_node",
        recovery=180.0,  # as long as the start of a graph takes on a slow machine, twice: half a minute on a quick one
    ),
)
