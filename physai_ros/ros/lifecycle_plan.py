"""Which node to configure or activate next: the order of a bring-up and of a recovery, without ROS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum


class NodeState(Enum):
    """A managed node as the lifecycle manager sees it."""

    UNKNOWN = "does not answer"
    UNCONFIGURED = "unconfigured"
    INACTIVE = "inactive"
    ACTIVE = "active"
    BUSY = "in transition"
    FINALIZED = "finalized"


class Transition(Enum):
    """What the lifecycle manager asks of a node; the values are those of `lifecycle_msgs/Transition`."""

    CONFIGURE = 1
    ACTIVATE = 3


def next_transition(
    order: Sequence[str], states: Mapping[str, NodeState], brought_up: bool
) -> tuple[str, Transition] | None:
    """Return the one transition that is due, None if there is none.

    All nodes are configured, in order, before the first is activated, so that who speaks is heard. In the bring-up a
    node that does not answer yet holds up those after it. Later, a dead node holds up nobody: the ones that come back
    are brought up again, in order among themselves.

    Args:
        order: node names, first to be brought up first.
        states: state of each of them.
        brought_up: whether all of them were active once.
    """
    waiting = {NodeState.BUSY} if brought_up else {NodeState.BUSY, NodeState.UNKNOWN}
    for wanted, transition in (
        (NodeState.UNCONFIGURED, Transition.CONFIGURE),
        (NodeState.INACTIVE, Transition.ACTIVATE),
    ):
        for name in order:
            if states[name] is wanted:
                return name, transition
            if states[name] in waiting:
                return None
    return None
