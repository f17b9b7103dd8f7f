"""The services that every driver of an arm has, simulated or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from std_srvs.srv import Trigger

from physai_ros import srv
from physai_ros.ros.lifecycle import ManagedNode
from physai_ros.safety.driver_guard import DriverGuard


class GuardedArm(Protocol):
    """An arm behind a driver guard."""

    guard: DriverGuard

    def emergency_stop(self) -> None:
        """Stop along the verified stop, and latch until `resume`."""

    def resume(self) -> tuple[bool, str]:
        """Leave the latch; returns whether it was done and a message."""


def serve_driver(node: ManagedNode, arm: GuardedArm, changed: Callable[[], None] = lambda: None) -> None:
    """Serve `claim_driver`, `driver/emergency_stop` and `driver/resume`; claim and resume end by calling `changed`."""

    def claim(request: srv.ClaimDriver.Request, response: srv.ClaimDriver.Response) -> srv.ClaimDriver.Response:
        before = arm.guard.claimant
        response.granted, response.token = True, arm.guard.claim(request.claimant)
        response.message = f"taken from {before}; resume to start" if before else "resume to start"
        changed()
        return response

    def emergency_stop(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        arm.emergency_stop()
        response.success, response.message = True, "stopping; call resume to start again"
        return response

    def resume(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = arm.resume()
        changed()
        return response

    node.serve(srv.ClaimDriver, "claim_driver", claim)
    node.serve(Trigger, "driver/emergency_stop", emergency_stop)
    node.serve(Trigger, "driver/resume", resume)
