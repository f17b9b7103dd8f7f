"""Faults of what processes live on: disk, memory, and the files that they read."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from physai_ros import msg
from physai_ros.cli.fault import Ending, Fault
from physai_ros.cli.fault_rig import Rig, wait_until

_RESPAWN = 10.0  # [s]
_WRITERS = ("feedback_collector", "sparse_trainer", "evaluator", "safety_monitor", "episode_manager")


@contextmanager
def _limited(pids: list[int], what: int, value: Callable[[int], int]) -> Iterator[None]:
    """Lower a limit of running processes while the block lasts."""
    before = {}
    for pid in pids:
        before[pid] = resource.prlimit(pid, what)
        resource.prlimit(pid, what, (value(pid), before[pid][1]))
    try:
        yield
    finally:
        for pid, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, what, limits)


@contextmanager
def _disk_full(rig: Rig) -> Iterator[None]:
    """No process can make a file longer, as on a disk that is full; the error has another number, and is an OSError."""
    with _limited([rig.pids[name] for name in _WRITERS], resource.RLIMIT_FSIZE, lambda _pid: 0):
        yield


@contextmanager
def _no_memory(rig: Rig) -> Iterator[None]:
    """The trainer dies, and the one that comes in its place gets no more memory than it has when it comes.

    One that has run for a while lives on what it was given before, and would not notice.
    """
    os.kill(rig.pids["sparse_trainer"], signal.SIGKILL)
    if not wait_until(lambda: rig.graph.pid("sparse_trainer") not in (0, rig.pids["sparse_trainer"]), _RESPAWN):
        raise TimeoutError(f"the trainer did not come back within {_RESPAWN:g} s; see {rig.graph.run / 'logs'}")
    rig.note_pids()
    with _limited([rig.pids["sparse_trainer"]], resource.RLIMIT_AS, _address_space):
        yield


def _address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _corrupted_policy(rig: Rig) -> Iterator[None]:
    """A version whose weights have rotted becomes the active one, with immediate effect."""
    registry = rig.graph.run / "registry"
    current = registry / "CURRENT"
    before = current.read_text()
    activation = json.loads(before)
    versions = sorted(path.name for path in registry.iterdir() if path.name.isdigit())
    rotten = f"{int(versions[-1]) + 1:06d}"
    shutil.copytree(registry / activation["version"], registry / rotten)
    weights = registry / rotten / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 0xFF
    weights.write_bytes(data)
    manifest = registry / rotten / "manifest.json"
    manifest.write_text(manifest.read_text().replace(activation["version"], rotten))
    _activate(rig, current, json.dumps({**activation, "version": rotten, "generation": activation["generation"] + 1}))
    try:
        yield
    finally:
        _activate(rig, current, before)
        shutil.rmtree(registry / rotten)


def _activate(rig: Rig, current: Path, text: str) -> None:
    fresh = current.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(current)
    said = json.loads(text)
    rig.update_writer.publish(msg.PolicyUpdate(version=said["version"], generation=said["generation"], immediate=True))


def _refused(rig: Rig) -> Callable[[], bool]:
    """Whether the policy's process says that it refused the file."""
    return lambda: "refused" in rig.diagnosis("policy_inference")


def _trainer_failed(rig: Rig) -> Callable[[], bool]:
    """Whether the trainer died of it."""
    return lambda: not Path(f"/proc/{rig.pids['sparse_trainer']}").exists()


def _disk_noticed(rig: Rig) -> Callable[[], bool]:
    """Whether the recorder says that it cannot write."""
    return lambda: "cannot" in rig.diagnosis("feedback_collector")


FAULTS = (
    Fault(
        "disk_full",
        "control unaffected; what is not recorded is counted and said; the safety log waits in memory",
        Ending.GOES_ON,
        _disk_full,
        noticed=_disk_noticed,
        held=4.0,
    ),
    Fault(
        "trainer_out_of_memory",
        "control unaffected; the trainer dies, and resumes from its last durable state",
        Ending.GOES_ON,
        _no_memory,
        noticed=_trainer_failed,
        restarts="sparse_trainer",
        held=4.0,
    ),
    Fault(
        "policy_corrupted",
        "refused with the reason; the current policy stays",
        Ending.GOES_ON,
        _corrupted_policy,
        noticed=_refused,
        held=2.5,
    ),
)
