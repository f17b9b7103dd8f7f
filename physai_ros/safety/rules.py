"""Which condition leads to which state, and after how many control cycles."""

from __future__ import annotations

from physai_ros.safety.limits import SafetyLimits
from physai_ros.safety.state_machine import Rule, SafetyState

CONTACT = frozenset({"contact_force", "contact_blow"})
"""Reasons of a stop for the force on the tool."""

# Shares of a limit from which the arm goes slowly.
NEAR_FORCE = 0.8
NEAR_TRACKING = 0.7
# Times the force budget that stop the arm at once: a blow, not a press.
BLOW = 2.0
# Share of the tracking error by which the arm may leave where its set-point has been of late: no servo goes there.
PUSHED = 1.0 / 3.0
# Shares of the force budget and of the tracking error down to which a stop for them yields.
RELIEVED_FORCE = 0.2
RELIEVED_TRACKING = 0.2


def rules_of(limits: SafetyLimits) -> dict[str, Rule]:
    """Rules by the name of their condition, as the supervisor observes it in a cycle."""
    stopped, hold, limited = SafetyState.STOPPED, SafetyState.HOLD, SafetyState.LIMITED
    return {
        "emergency_stop": Rule(stopped),
        "contact_force": Rule(stopped, trigger=limits.force_cycles),
        "contact_blow": Rule(stopped),
        "pushed_aside": Rule(stopped, trigger=3),
        "tracking_error_sustained": Rule(stopped, trigger=50),
        "driver_fault": Rule(stopped),
        "driver_rejected": Rule(stopped),
        "driver_reflex": Rule(stopped),
        "driver_comm": Rule(stopped),
        "driver_estop": Rule(stopped),
        "driver_link_lost": Rule(stopped),
        "driver_stopped": Rule(stopped),
        "driver_restarted": Rule(stopped),
        "driver_lost": Rule(stopped),
        "state_invalid_sustained": Rule(stopped, trigger=10),
        "tracking_error": Rule(hold, trigger=10, release=10),
        "driver_not_active": Rule(hold),
        "driver_silent": Rule(hold),
        "state_invalid": Rule(hold),
        "clock_jump": Rule(hold, release=5),
        "loop_late": Rule(hold, release=5),
        "no_proposal": Rule(hold),
        "proposal_awaited": Rule(hold),
        "proposal_stale": Rule(hold),
        "proposal_of_another_run": Rule(hold),
        "proposal_joints": Rule(hold),
        "proposal_malformed": Rule(hold),
        "proposal_not_finite": Rule(hold),
        "intervention_invalid": Rule(hold),
        "operator_released": Rule(hold),
        "operator_needed": Rule(hold),
        "out_of_distribution_sustained": Rule(hold, release=20),
        "out_of_distribution": Rule(limited, release=50, slows=True),
        "person_too_near": Rule(hold, release=20),
        "person_distance_silent": Rule(hold, release=20),
        "person_near": Rule(limited),
        "contact_force_near": Rule(limited, trigger=limits.force_cycles, release=20, slows=True),
        "tracking_error_near": Rule(limited, trigger=10, release=20, slows=True),
        "reduced_speed": Rule(limited, slows=True),
        "first_motion": Rule(limited, slows=True),
        "filter_infeasible": Rule(limited, release=20),
        "stop_not_verified": Rule(limited, release=20),
        "set_point_moved": Rule(limited, release=20),
        "altered": Rule(limited, trigger=5, release=20),
    }
