"""Claims: what only one graph at a time may use, such as a namespace in a domain, or a device."""

import fcntl
import os
import re
import tempfile
from pathlib import Path
from types import TracebackType

# High, so that supervisord, which closes what it finds open below its `minfds`, hands the claim on to the nodes. A
# namespace is then taken for as long as one process of its graph lives.
LOWEST_DESCRIPTOR = 300


class ClaimedError(RuntimeError):
    """Somebody else holds the claim; the message says who."""


class Claim:
    """An exclusive claim on a name, held until `release` and, when inherited, until the last process that has it ends.

    The claim is a lock on a file in the folder for temporary files, which the kernel gives up with the process,
    so nothing stale is left behind by a crash.
    """

    def __init__(self, kind: str, key: str, holder: str) -> None:
        """Take the claim on `key`, e.g. `Claim("graph", "0/physai", "physai up sim")`.

        Raises:
            ClaimedError: it is taken.
        """
        name = re.sub(r"[^A-Za-z0-9]+", "_", f"{kind}_{key}")
        self.path = Path(tempfile.gettempdir()) / f"physai_ros_{name}.lock"
        self.path.touch(mode=0o666) if not self.path.exists() else None
        with self.path.open("r+") as file:
            self.descriptor = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.descriptor)
            by = self.path.read_text().strip() or "another process"
            raise ClaimedError(f"The {kind} {key!r} is in use by {by}.") from None
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{holder} (process {os.getpid()})\n".encode(), 0)

    def release(self) -> None:
        """Give the claim up here; processes that inherited it keep it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def claim_graph(domain: int, namespace: str, holder: str) -> Claim:
    """Claim a namespace in a DDS domain; the error says how to run a second graph."""
    key = f"{domain}/{namespace.strip('/')}"
    try:
        return Claim("graph", key, holder)
    except ClaimedError as error:
        by = str(error).partition("in use by ")[2]
        raise ClaimedError(
            f"Namespace {namespace!r} in domain {domain} is already in use by {by} Stop that graph first, or choose "
            "another --namespace or --domain."
        ) from None


def claim_device(device: str, holder: str) -> Claim:
    """Claim a device, such as a serial port or a robot's address."""
    return Claim("device", os.path.realpath(device) if device.startswith("/") else device, holder)
