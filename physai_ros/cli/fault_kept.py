"""What the faults left of what was recorded: the episodes, and the safety log."""

from __future__ import annotations

import math
from collections.abc import Sequence

from physai_ros.cli.fault_rig import Rig, wait_until
from physai_ros.cli.fault_row import FaultRow
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.safety.audit import AuditError, verify_audit

NEVER_TOLERATED = ("recordings", "safety_log")
"""Rows whose failure is never put down to the machine."""


def recordings_row(rig: Rig, rows: Sequence[FaultRow]) -> FaultRow:
    """Whether every episode that was begun can be read, but for those that the disk had no room for."""
    expected = "every episode that was begun is in the store, announced or recovered, and can be read"
    begun = dict(rig.record.episodes)
    running = max(begun, key=begun.__getitem__, default="")
    store = EpisodeStore(rig.graph.run / "episodes", create=False)

    def missing() -> list[str]:
        there = set(store.ids())
        return [episode for episode in begun if episode not in there and episode != running]

    wait_until(lambda: not missing(), 10.0)
    gone, damaged = len(missing()), 0
    for episode in store.ids():
        try:
            store.read(episode)
        except StoreError:
            damaged += 1
    full = 2 * sum(row.fault == "disk_full" for row in rows)
    seen = f"{len(begun)} begun, {gone} missing, {damaged} damaged"
    if gone and full:
        seen += f"; up to {full} on a full disk"
    return _whole("recordings", expected, seen, max(0, gone - full) + damaged)


def safety_log_row(rig: Rig) -> FaultRow:
    """Whether the chain of the safety log is whole after all that."""
    path = rig.graph.run / "safety_audit.jsonl"
    try:
        verdict = verify_audit(path)
        return _whole("safety_log", "the chain is whole", f"whole: {verdict.records} records", verdict.dropped)
    except (AuditError, OSError) as error:
        return _whole("safety_log", "the chain is whole", str(error), 1)


def _whole(name: str, expected: str, seen: str, lost: int) -> FaultRow:
    nan = math.nan
    return FaultRow(name, expected, seen, nan, nan, nan, nan, lost, 0, nan, nan, nan, 0, 0.0, lost == 0)
