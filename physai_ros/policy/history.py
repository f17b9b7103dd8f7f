"""What a registry remembers: every activation, the ancestors of a version, and which weights may be let go."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import physai_ros
from physai_ros.policy.activation import Activation, read_activation

if TYPE_CHECKING:
    from physai_ros.policy.registry import PolicyManifest, PolicyRegistry

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class PastActivation:
    """One line of the history: an activation, and when it was [s since 1970]."""

    stamp: float
    activation: Activation


def note_activation(folder: Path, activation: Activation) -> None:
    """Append an activation to the history, durably."""
    line = json.dumps({"stamp": time.time(), **asdict(activation)})
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        # Whoever was killed in the middle of a line left one that is skipped.
        file.write(f"\n{line}\n" if file.tell() else f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def read_history(folder: Path) -> tuple[PastActivation, ...]:
    """Every activation that came true, oldest first; lines that cannot be read are left out."""
    found: dict[int, PastActivation] = {}
    try:
        lines = (folder / HISTORY).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    for line in lines:
        try:
            data = json.loads(line)
            stamp = float(data.pop("stamp"))
            found[int(data["generation"])] = PastActivation(stamp, Activation(**data))
        except (ValueError, KeyError, TypeError):
            continue
    latest = read_activation(folder).generation
    return tuple(past for generation, past in sorted(found.items()) if generation <= latest)


def ancestors(registry: PolicyRegistry, version: str) -> tuple[PolicyManifest, ...]:
    """Manifests of a version and of all that it was trained from, newest first; a parent that is gone is left out.

    Raises:
        PolicyFileError: there is no such version.
    """
    known, found, waiting = set(registry.versions()), {}, [version]
    while waiting:
        name = waiting.pop()
        if name in found or (name not in known and name != version):
            continue
        found[name] = registry.manifest(name)
        waiting += found[name].parents
    return tuple(found[name] for name in sorted(found, reverse=True))


def collectable(registry: PolicyRegistry, keep: int, *, keep_active: bool = True) -> tuple[str, ...]:
    """Versions whose weights may go: not of the newest `keep`, not active, not what a rollback would return to.

    With `keep_active` also none that was ever active.
    """
    now = registry.activation()
    kept = {now.version, now.previous, *registry.versions()[-keep:]} if keep else {now.version, now.previous}
    if keep_active:
        kept |= {past.activation.version for past in read_history(registry.folder)}
    return tuple(v for v in registry.versions() if v not in kept and (registry.folder / v / _WEIGHTS).exists())


def collect(registry: PolicyRegistry, versions: tuple[str, ...]) -> int:
    """Delete the weights of versions and return how many bytes that freed; manifests stay, and with them lineage."""
    freed = 0
    for version in versions:
        path = registry.folder / version / _WEIGHTS
        freed += path.stat().st_size
        path.unlink()
    return freed


_WEIGHTS = "weights.safetensors"


@lru_cache(maxsize=1)
def code_digest() -> str:
    """SHA-256 over the package's Python source, the same for the same code wherever it lies."""
    root, digest = Path(physai_ros.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
