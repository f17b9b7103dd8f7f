"""What supervisord reads: one configuration, and one description a process."""

import json
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from physai_ros.deployment import tied
from physai_ros.deployment.claims import LOWEST_DESCRIPTOR
from physai_ros.deployment.graph import Graph, Process, command

LONGEST_SOCKET_PATH = 100
"""The system's limit for the path of a Unix socket is 108; supervisord appends to it while it starts."""
AUTORESTART = {"always": "true", "on_crash": "unexpected", "never": "false"}
EXPECTED_EXITS = "0,3"
"""Exit codes after which `on_crash` does not restart: done, and refused (what it was given will not do)."""


def socket_path(run: Path) -> Path:
    """Return where supervisord listens: in the run folder, or in a short folder where that path would be too long."""
    path = run / "supervisor.sock"
    if len(str(path).encode()) <= LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.mkdtemp(prefix="physai_", dir="/tmp")) / "supervisor.sock"


def write_supervisor_files(
    graph: Graph,
    run: Path,
    socket: Path,
    namespace: str,
    parameter_files: list[Path],
    environment: Mapping[str, str],
    *,
    realtime: bool = True,
) -> Path:
    """Write the configuration and the descriptions of all processes into the run folder; return the configuration.

    Processes of one `order` are one group: groups start from low to high, and stop one by one from high to low.

    Args:
        graph: what to run.
        run: the run folder; logs go to `logs/<node>.log` in it.
        socket: where supervisord is to listen.
        namespace: of all nodes.
        parameter_files: for `--params-file`, later over earlier.
        environment: added to each process's environment.
        realtime: whether processes get their real-time priorities.
    """
    for folder in ("logs", "processes"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    sections = [
        _section("unix_http_server", file=socket, chmod="0600"),
        _section(
            "supervisord",
            logfile=run / "logs" / "supervisord.log",
            pidfile=run / "supervisord.pid",
            nodaemon="true",
            silent="true",
            minfds=LOWEST_DESCRIPTOR - 44,
            childlogdir=run / "logs",
        ),
        _section(
            "rpcinterface:supervisor",
            **{"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    for process in graph.in_order:
        description = run / "processes" / f"{process.name}.json"
        content = {
            "argv": command(process, namespace, parameter_files),
            "environment": dict(environment),
            "nice": process.nice,
            "realtime_priority": process.realtime_priority if realtime else 0,
        }
        description.write_text(json.dumps(content, indent=1))
        sections.append(_program(process, description, run))
    for order in sorted({process.order for process in graph.processes}):
        names = [process.name for process in graph.processes if process.order == order]
        sections.append(_section(f"group:order_{order}", programs=",".join(names), priority=order))
    path = run / "supervisord.conf"
    path.write_text("\n".join(sections))
    return path


def _program(process: Process, description: Path, run: Path) -> str:
    # -S and -E: the wrapper needs neither packages nor settings, and starts in a third of the time without them.
    words = [sys.executable, "-S", "-E", tied.__file__, str(description)]
    return _section(
        f"program:{process.name}",
        command=" ".join(shlex.quote(word) for word in words),
        autorestart=AUTORESTART[process.restart],
        exitcodes=EXPECTED_EXITS,
        startsecs=1,
        startretries=2,
        stopsignal="INT",
        stopwaitsecs=2,
        killasgroup="true",
        redirect_stderr="true",
        stdout_logfile=run / "logs" / f"{process.name}.log",
        stdout_logfile_maxbytes="20MB",
        stdout_logfile_backups=1,
    )


def _section(title: str, **settings: object) -> str:
    lines = [f"{name} = {str(value).replace('%', '%%')}" for name, value in settings.items()]
    return "\n".join([f"[{title}]", *lines, ""])
