"""The `physai` command: one file a sub-command, registered here, imported only when it runs."""

import importlib
from typing import Any

import click
import typer

from physai_ros import __version__
from physai_ros.deployment.environment import prepare_process

# Sub-command → (module, name of the typer app or function in it, one line for `physai --help`).
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("physai_ros.cli.up", "up", "Start the nodes of a graph and keep them."),
}
