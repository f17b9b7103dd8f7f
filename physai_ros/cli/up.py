"""`physai up GRAPH`: start the nodes of a graph and keep them."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.deployment.supervised import ProcessStatus, SupervisedGraph

POLL_SECONDS = 0.5


def up(
    graph: Annotated[
        str, typer.Argument(help="A graph of config/graphs (sim, gazebo, robot), or a .yaml of your own.")
    ],
    namespace: Annotated[str, typer.Option(help="ROS namespace of all nodes.")] = "physai",
    params_file: Annotated[
        Path | None, typer.Option(help="Parameters as ROS 2 YAML.", show_default="config/GRAPH.yaml")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder for logs and data.", show_default="runs/GRAPH-TIME")] = None,
    domain: Annotated[
        int | None, typer.Option(help="DDS domain, 0 to 232.", show_default="ROS_DOMAIN_ID, or 0")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="node.parameter=value, over all files; may be repeated.")
    ] = None,
    robot: Annotated[
        str | None, typer.Option(help="Parameter 'robot' of every node for which the graph names one.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Parameter 'seed' of every node for which the graph names one.")
    ] = None,
) -> None:
    """Start the nodes of a graph and keep them until Ctrl-C."""
    from physai_ros.deployment.graph import load_graph
    from physai_ros.deployment.parameters import need_robot, parse_settings, set_everywhere
    from physai_ros.deployment.run_folder import new_run_folder
    from physai_ros.deployment.supervised import SupervisedGraph

    described = load_graph(graph)
    chosen = parse_settings(settings or [], described)
    for name, value in (("robot", robot), ("seed", seed)):
        if value is not None:
            set_everywhere(described, chosen, name, value)
    need_robot(described, chosen)
    folder = run or new_run_folder(described.name)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    supervised = SupervisedGraph(
        described, folder, namespace=namespace, domain=domain, parameter_file=params_file, settings=chosen
    )
    try:
        supervised.start()
        typer.echo(f"{described.name}: {len(described.processes)} nodes in /{supervised.namespace}; logs in {folder}")
        _keep(supervised)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        typer.echo(f"{described.name}: stopped in {supervised.stop():.1f} s")


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _keep(supervised: "SupervisedGraph") -> None:
    """Report what processes do until one that the graph needs cannot be kept running."""
    before: dict[str, ProcessStatus] = {}
    while True:
        for status in supervised.statuses():
            last = before.get(status.name)
            before[status.name] = status
            if last is not None and (last.state, last.pid) == (status.state, status.pid):
                continue
            if status.state == "RUNNING" and last is not None and last.pid not in (0, status.pid):
                typer.echo(f"{status.name}: ended and was started again as process {status.pid}")
            elif status.state in ("FATAL", "EXITED") or (status.state == "STOPPED" and last is not None):
                text = f"{status.name} ended{_reason(supervised.log(status.name))}"
                process = supervised.graph.process(status.name)
                if process.essential and status.state != "STOPPED":
                    raise RuntimeError(f"{text} The graph needs it; log: {supervised.log(status.name)}")
                typer.echo(f"{text} The graph goes on without it.")
            elif status.state == "BACKOFF":
                typer.echo(f"{status.name}: did not start{_reason(supervised.log(status.name))}")
        if not any(status.pid for status in before.values()) and not supervised.alive:
            raise RuntimeError(f"supervisord ended; log: {supervised.run / 'logs' / 'supervisord.log'}")
        time.sleep(POLL_SECONDS)


def _reason(log: Path) -> str:
    """Return the last line of a log that is worth showing, as the end of a sentence."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.path.getsize(log) - 4000))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return f": {lines[-1].rstrip('.')}." if lines else "."
