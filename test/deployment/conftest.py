"""Small graphs of real processes, each in a domain of its own."""

import itertools
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from physai_ros.deployment.graph import Graph, Process

TINY_NODE = Path(__file__).with_name("tiny_node.py")
_namespaces = itertools.count()


@pytest.fixture
def namespace() -> str:
    """Return a namespace that no other test of this run uses."""
    return f"test_{os.getpid()}_{next(_namespaces)}"


@pytest.fixture
def tiny(tmp_path) -> Callable[..., Process]:
    """Return a maker of processes that run the tiny node."""
    script = tmp_path / "tiny"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(TINY_NODE))} "$@"\n')
    script.chmod(0o755)
    return lambda name, **settings: Process(name=name, executable=str(script), **settings)


@pytest.fixture
def stubborn(tmp_path) -> Process:
    """Return a process that hears no polite request to end."""
    script = tmp_path / "stubborn"
    script.write_text("#!/bin/sh\ntrap '' INT TERM\nwhile :; do sleep 0.1; done\n")
    script.chmod(0o755)
    return Process(name="stubborn", executable=str(script), order=5)


@pytest.fixture
def manager() -> Process:
    """Return the lifecycle manager's process."""
    return Process(name="lifecycle_manager", executable="lifecycle_manager", order=50, managed=False)


@pytest.fixture
def graph_of() -> Callable[..., Graph]:
    """Return a maker of graphs."""
    return lambda *processes: Graph("tiny", tuple(processes))
