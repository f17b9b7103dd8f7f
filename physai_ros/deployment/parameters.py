"""ROS parameters of a graph: what the graph says, what a file says, what the user says."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from physai_ros.deployment.graph import Graph
from physai_ros.robot.share import share_path

Overrides = dict[str, dict[str, Any]]
"""Node name → parameter name → value."""


def parse_setting(text: str, graph: Graph) -> tuple[str, str, Any]:
    """Return node, parameter and value of `node.parameter=value`.

    Values are read as YAML, except that only `true` and `false` are booleans: `on`, `no` and `y` stay words.

    Raises:
        ValueError: not of that form.
        LookupError: the graph has no such node.
    """
    name, equals, value = text.partition("=")
    node, dot, parameter = name.partition(".")
    if not (equals and dot and node and parameter):
        raise ValueError(f"--set {text!r}: expected node.parameter=value, e.g. policy_inference.device=cpu.")
    graph.process(node)
    parsed = yaml.safe_load(value) if value else ""
    if isinstance(parsed, bool) and value.strip().lower() not in ("true", "false"):
        parsed = value
    if not isinstance(parsed, (bool, int, float, str, list)):
        raise ValueError(f"--set {text!r}: a parameter is a boolean, a number, a word or a list, not {parsed!r}.")
    return node, parameter, parsed


def parse_settings(texts: Iterable[str], graph: Graph) -> Overrides:
    """Return the overrides that several `node.parameter=value` make; a later one wins."""
    overrides: Overrides = {}
    for text in texts:
        node, parameter, value = parse_setting(text, graph)
        overrides.setdefault(node, {})[parameter] = value
    return overrides


def set_everywhere(graph: Graph, overrides: Overrides, name: str, value: object) -> None:
    """Set a parameter of every process for which the graph names it, where `overrides` do not already.

    Raises:
        ValueError: the graph names it for no process.
    """
    named = [process.name for process in graph.processes if name in process.parameters]
    if not named:
        raise ValueError(f"Graph {graph.name!r} names no {name!r}; set one node's with --set node.{name}={value}.")
    for node in named:
        overrides.setdefault(node, {}).setdefault(name, value)


def need_robot(graph: Graph, overrides: Overrides) -> None:
    """Raise ValueError where a process waits to be told which robot it is for, which has no default."""
    for process in graph.processes:
        if process.parameters.get("robot", "any") == "" and not overrides.get(process.name, {}).get("robot"):
            known = ", ".join(sorted(path.stem for path in share_path("config", "robots").glob("*.yaml")))
            raise ValueError(f"Graph {graph.name!r} needs to know its arm: give --robot, one of {known}, or a .yaml.")


def graph_parameters(graph: Graph, run: Path | None) -> Overrides:
    """Return what the graph itself sets: its processes' parameters, and the node list of the lifecycle manager."""
    result: Overrides = {process.name: dict(process.parameters) for process in graph.processes}
    if "lifecycle_manager" in result:
        result["lifecycle_manager"].setdefault("nodes", graph.managed_names)
    if run is not None:
        for parameters in result.values():
            for name, value in parameters.items():
                if isinstance(value, str):
                    parameters[name] = value.replace("${run}", str(run))
    return result


def write_parameters(path: Path, overrides: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write parameters as a file for `--params-file` that holds in any namespace; return its path."""
    content = {
        f"/**/{node}": {"ros__parameters": _plain(parameters)} for node, parameters in overrides.items() if parameters
    }
    # rcl refuses an empty document.
    path.write_text(yaml.safe_dump(content or {"/**": {"ros__parameters": {"use_sim_time": False}}}, sort_keys=False))
    return path


def read_parameters(path: Path, graph: Graph) -> Overrides:
    """Return the parameters of a file by node, checked against the graph.

    Raises:
        ValueError: no parameter file, or one for a node that the graph does not have.
    """
    if not path.is_file():
        raise ValueError(f"--params-file {path}: no such file.")
    content = yaml.safe_load(path.read_text()) or {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of nodes, each with 'ros__parameters'.")
    result: Overrides = {}
    for key, value in content.items():
        parameters = value.get("ros__parameters") if isinstance(value, dict) else None
        if not isinstance(parameters, dict):
            raise ValueError(f"{path}: {key!r} must hold a mapping 'ros__parameters'.")
        node = str(key).rsplit("/", 1)[-1]
        for name in [process.name for process in graph.processes] if node.strip("*") == "" else [node]:
            graph.process(name)
            result.setdefault(name, {}).update(parameters)
    return result


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as plain YAML can hold them, nested by dots as ROS writes them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}
