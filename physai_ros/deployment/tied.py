"""Run one process of a graph, tied to its parent: when the parent dies, however it dies, so does the process.

Called as a script with a JSON file {argv, environment, nice, realtime_priority}, or with a niceness and a command line;
it becomes that program. It imports nothing of this package and no more than it needs, since every process of a graph
starts through it.
"""

import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int) -> None:
    """Ask the kernel to send this process a signal when `parent` ends, and end now if it has ended already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def take_priority(niceness: int, realtime_priority: int) -> None:
    """Yield by `niceness`; above 0 `realtime_priority` goes before all that has none, where the system permits it."""
    os.nice(niceness)
    if realtime_priority:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(realtime_priority))
        except PermissionError:
            print(
                f"no real-time priority {realtime_priority}: goes on without it, later where the machine is busy; "
                "to permit it, add 'rtprio 99' for this user to /etc/security/limits.conf",
                flush=True,
            )


def main(arguments: list[str]) -> None:
    """Become the program that a JSON file describes, `FILE`, or that is given, `NICE PROGRAM ARGUMENT...`."""
    die_with_parent(os.getppid(), signal.SIGKILL)
    if len(arguments) == 1:
        with open(arguments[0]) as file:
            description = json.load(file)
    else:
        description = {"argv": arguments[1:], "environment": {}, "nice": int(arguments[0])}
    take_priority(description["nice"], description.get("realtime_priority", 0))
    os.execve(description["argv"][0], description["argv"], {**os.environ, **description["environment"]})


if __name__ == "__main__":
    main(sys.argv[1:])
