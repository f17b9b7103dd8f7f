"""The process graph, described once and started by `physai up` and by the launch files alike."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from physai_ros.robot.share import share_path

Restart = Literal["always", "on_crash", "never"]
RESTARTS = ("always", "on_crash", "never")


@dataclass(frozen=True)
class Process:
    """One node as a process of its own."""

    name: str
    """Name of the node, and of its log."""
    executable: str
    """Name below `lib/physai_ros/`, or the path of a file."""
    order: int = 0
    """Started from low to high, stopped from high to low; the same number means together."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """ROS parameters, which a parameter file and then the user's own settings may override."""
    remappings: Mapping[str, str] = field(default_factory=dict)
    """Topic or service as the node calls it → as the graph calls it."""
    cpu_budget: float = 1.0
    """Share of one core that the process is expected to use, 0 to 1; what exceeds it is reported, not cut."""
    nice: int = 0
    """Added to the scheduling priority's niceness, 0 (none) to 19 (yields to everything)."""
    realtime_priority: int = 0
    """Priority under SCHED_FIFO, 1 to 99, where the system permits it and the clock drives time; 0: none."""
    restart: Restart = "on_crash"
    """Whether a process that ended by itself is started again."""
    essential: bool = True
    """Whether the graph is stopped when the process cannot be kept running."""
    managed: bool = True
    """Whether the lifecycle manager configures and activates the node."""
    device: str = ""
    """Name of the parameter that names the device this process alone may use; empty: none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a value that no process can have."""
        if self.restart not in RESTARTS:
            raise ValueError(f"Process {self.name!r}: restart is {self.restart!r}; expected one of {RESTARTS}.")
        if not 0 <= self.nice <= 19:
            raise ValueError(f"Process {self.name!r}: nice is {self.nice}; expected 0 to 19.")
        if not 0 <= self.realtime_priority <= 99:
            raise ValueError(f"Process {self.name!r}: realtime_priority is {self.realtime_priority}; expected 0 to 99.")
        if not self.cpu_budget > 0:
            raise ValueError(f"Process {self.name!r}: cpu_budget is {self.cpu_budget}; expected above 0 [cores].")


@dataclass(frozen=True)
class Graph:
    """Processes that work together in one namespace."""

    name: str
    processes: tuple[Process, ...]
    simulated: bool = True
    """Whether no real robot is moved; then traffic stays on this machine."""

    def __post_init__(self) -> None:
        """Raise ValueError for an empty graph or two processes of one name."""
        names = [process.name for process in self.processes]
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles or not names:
            raise ValueError(f"Graph {self.name!r} has {'two processes named ' + doubles[0] if doubles else 'none'}.")

    @property
    def in_order(self) -> tuple[Process, ...]:
        """Processes in the order in which they are started."""
        return tuple(sorted(self.processes, key=lambda process: process.order))

    @property
    def managed_names(self) -> list[str]:
        """Names of the nodes that the lifecycle manager brings up, in order."""
        return [process.name for process in self.in_order if process.managed]

    def process(self, name: str) -> Process:
        """Return the process of that name.

        Raises:
            LookupError: there is none; the message names those that there are.
        """
        for process in self.processes:
            if process.name == name:
                return process
        known = ", ".join(process.name for process in self.processes)
        raise LookupError(f"Graph {self.name!r} has no node {name!r}; it has {known}.")


def graph_names() -> list[str]:
    """Return the names of the graphs in `config/graphs/`."""
    return sorted(path.stem for path in share_path("config", "graphs").glob("*.yaml"))


def load_graph(name: str) -> Graph:
    """Return the graph that `config/graphs/<name>.yaml`, or a file of that path, describes.

    Raises:
        LookupError: no such graph.
        ValueError: the file holds something that is no graph.
    """
    path = Path(name)
    if path.suffix != ".yaml":
        if name not in graph_names():
            raise LookupError(f"No graph {name!r}; there are {', '.join(graph_names())}, or give the path of a .yaml.")
        path = share_path("config", "graphs", f"{name}.yaml")
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not isinstance(content.get("processes"), list):
        raise ValueError(f"{path}: expected a mapping with a list 'processes'.")
    unknown = set(content) - {"processes", "simulated"}
    if unknown:
        raise ValueError(f"{path}: unknown key {sorted(unknown)[0]!r}; expected 'processes' and 'simulated'.")
    processes = tuple(_process(entry, path) for entry in content["processes"])
    return Graph(name=path.stem, processes=processes, simulated=bool(content.get("simulated", True)))


def _process(entry: object, path: Path) -> Process:
    known = [field.name for field in fields(Process)]
    if not isinstance(entry, dict) or not isinstance(entry.get("executable"), str):
        raise ValueError(f"{path}: each of 'processes' must be a mapping with an 'executable'; one is {entry!r}.")
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise ValueError(f"{path}: {entry['executable']}: unknown key {unknown[0]!r}; expected some of {known}.")
    return Process(**{"name": Path(entry["executable"]).name, **entry})


def executable_path(executable: str) -> Path:
    """Return the file that runs `executable`: a path as it is, a name as installed in `lib/physai_ros/`.

    Raises:
        FileNotFoundError: it is installed nowhere.
    """
    if os.sep in executable:
        return Path(executable)
    prefixes = [sys.prefix, *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    for prefix in prefixes:
        path = Path(prefix) / "lib" / "physai_ros" / executable
        if prefix and path.is_file():
            return path
    raise FileNotFoundError(
        f"Executable {executable!r} of physai_ros is not installed under {sys.prefix}. Run `make setup`, or source the "
        "set-up script of the workspace that holds the package."
    )


def command(process: Process, namespace: str, parameter_files: list[Path]) -> list[str]:
    """Return the command line of a process; later parameter files override earlier ones."""
    arguments = [str(executable_path(process.executable)), "--ros-args"]
    arguments += ["-r", f"__node:={process.name}", "-r", f"__ns:=/{namespace.strip('/')}"]
    for own, graphs in process.remappings.items():
        arguments += ["-r", f"{own}:={graphs}"]
    for file in parameter_files:
        arguments += ["--params-file", str(file)]
    return arguments
