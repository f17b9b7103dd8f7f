"""Tasks by name: the package's own, and those that a user brings in a file of their own."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from physai_ros.tasks.pick_place import PickPlace
from physai_ros.tasks.reach import Reach
from physai_ros.tasks.task import Task

TASKS: dict[str, type[Task]] = {task.name: task for task in (PickPlace, Reach)}
"""The package's own tasks by name."""


def load_task(name: str) -> Task:
    """A task by name (`pick_place`), by `module:Class`, or by `path/to/file.py` or `path/to/file.py:Class`.

    One's own task is called as it was asked for, so that who finds its name in an episode or a policy can load it too.

    Raises:
        ValueError: there is no such task, or what was named is none.
    """
    if name in TASKS:
        return TASKS[name]()
    place, _, class_name = name.partition(":")
    if not class_name and not place.endswith(".py"):
        raise ValueError(
            f"unknown task '{name}'; known are: {', '.join(TASKS)}; your own is named module:Class or path/to/file.py"
        )
    module = _load_module(place)
    if class_name:
        found = getattr(module, class_name, None)
        if not (isinstance(found, type) and issubclass(found, Task)):
            raise ValueError(f"{place} has no class '{class_name}' that is a Task; it has: {_tasks_of(module)}")
        return _build(found, name)
    own = _own_tasks(module)
    if len(own) != 1:
        raise ValueError(f"{place} holds {len(own)} tasks ({_tasks_of(module)}); name one as {place}:Class")
    return _build(own[0], name)


def _load_module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise ValueError(f"cannot import the module '{place}' of a task: {error}") from error
    path = Path(place)
    if not path.is_file():
        raise ValueError(f"there is no task file {place}; known tasks are: {', '.join(TASKS)}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises is the reason
        raise ValueError(f"the task file {place} cannot be read: {type(error).__name__}: {error}") from error
    return module


def _own_tasks(module: ModuleType) -> list[type[Task]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
    ]


def _tasks_of(module: ModuleType) -> str:
    return ", ".join(task.__name__ for task in _own_tasks(module)) or "none"


def _build(task: type[Task], name: str) -> Task:
    try:
        made = task()
    except TypeError as error:
        raise ValueError(f"the task {task.__name__} is not complete: {error}") from error
    made.name = name
    return made
