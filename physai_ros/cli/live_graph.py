"""A graph of one's own for a measurement: paced, with a policy that moves the arm, in a folder that goes with it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from std_srvs.srv import Trigger

from physai_ros.deployment.environment import talk_as
from physai_ros.deployment.graph import Graph, load_graph
from physai_ros.deployment.supervised import SupervisedGraph
from physai_ros.evaluation.rollout import Rollout
from physai_ros.msg import SafeCommand, SafetyStatus
from physai_ros.robot.spec import RobotSpec
from physai_ros.ros.graph_monitor import GraphMonitor
from physai_ros.tasks.catalog import load_task
from physai_ros.training.config import TrainerConfig
from physai_ros.transfer.first_policy import first_policy

_DEMONSTRATIONS, _UPDATES = 6, 300
STARTED = 90.0
"""Patience with the start of a graph, imports and discovery on a busy machine included [s]."""


@contextmanager
def live_graph(
    task: str,
    seed: int,
    *,
    namespace: str,
    run: Path | None = None,
    demonstrations: int = _DEMONSTRATIONS,
    remappings: Mapping[str, Mapping[str, str]] | None = None,
    beside: Callable[[], AbstractContextManager] = nullcontext,
    more: Mapping[str, Mapping[str, object]] | None = None,
    robot: str = "fr3_sim",
    prepare: Callable[[Rollout, Path], None] | None = None,
) -> Iterator[tuple[SupervisedGraph, GraphMonitor]]:
    """The graph `sim`, paced, running episode after episode, and what listens to it, while the block lasts.

    Args:
        task: that the arm does.
        seed: of policy and episodes.
        namespace: of the graph.
        run: its folder; None: one that goes with it.
        demonstrations: that its policy imitates.
        remappings: by node, names that it is to use in place of its own.
        beside: entered before the graph is waited for, and left with it.
        more: parameters by node.
        robot: configuration of the arm, by name or path.
        prepare: makes the run's folder ready in place of `first_policy`; it leaves a registry with an active version.

    Raises:
        TimeoutError: the arm did not begin to move under the policy.
    """
    with tempfile.TemporaryDirectory(prefix="physai-") as temporary:
        folder = Path(temporary) if run is None else run
        rollout = Rollout(RobotSpec.load(robot), load_task(task))
        if prepare is None:
            first_policy(
                rollout,
                folder,
                TrainerConfig(seed=seed, warm_start_updates=_UPDATES),
                demonstrations=demonstrations,
                seed=seed,
                noise=None,
                on_demonstration=lambda _done, _total: None,
                on_update=lambda _done, _total: None,
            )
        else:
            prepare(rollout, folder)
        rollout.close()
        names = ("driver_node", "policy_inference", "operator", "sparse_trainer", "evaluator", "episode_manager")
        settings: dict = {name: {"task": task, "robot": robot} for name in names}
        settings |= {name: {"robot": robot} for name in ("sensor_fusion", "safety_monitor")}
        settings["driver_node"] |= {"mode": "paced", "seed": seed}
        settings["policy_inference"] |= {"mode": "paced"}
        # Nobody helps and nobody resumes: what a fault does is to be seen.
        settings["operator"] |= {"intervene": False, "resume": False}
        settings["evaluator"] |= {"promote": False}
        settings["episode_manager"] |= {"seed": seed, "episodes": 1_000_000}
        for name, values in (more or {}).items():
            settings[name] = {**settings.get(name, {}), **values}
        processes = load_graph("sim").processes
        processes = tuple(replace(each, remappings=(remappings or {}).get(each.name, {})) for each in processes)
        graph = SupervisedGraph(Graph("sim", processes), folder, namespace=namespace, settings=settings)
        talk_as(graph.environment)
        with graph, beside(), _monitor(namespace) as monitor:
            if not resume_until_moving(monitor, STARTED):
                raise TimeoutError(f"the policy did not move the arm within {STARTED:g} s; see {folder / 'logs'}")
            yield graph, monitor


@contextmanager
def real_time_threads(priority: int = 60) -> Iterator[None]:
    """The block, and threads started in it, go before all without a `priority` under SCHED_FIFO, where permitted.

    For what measures the processes of control or stands between them: those have such priorities (config/graphs).
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _monitor(namespace: str) -> GraphMonitor:
    with real_time_threads():
        return GraphMonitor(namespace)


def speed(monitor: GraphMonitor) -> float:
    """Largest joint speed that the driver measured last [rad/s], 0 before the first measurement."""
    return 0.0 if monitor.driver is None else max(abs(value) for value in monitor.driver.joint_velocities)


def moving(monitor: GraphMonitor, least: float = 0.15) -> bool:
    """Whether the policy moves the arm faster than `least` [rad/s]; what is older than 0.3 s says nothing."""
    recent = time.monotonic() - 0.3
    if min(monitor.safety_received, monitor.driver_received, monitor.command_received) < recent:
        return False
    healthy = monitor.safety.state in (SafetyStatus.NOMINAL, SafetyStatus.LIMITED)
    return healthy and monitor.command.source == SafeCommand.SOURCE_POLICY and speed(monitor) > least


def resume_until_moving(monitor: GraphMonitor, timeout: float, came_back: Callable[[], bool] = lambda: True) -> bool:
    """Whether the policy moves the arm within `timeout` [s] of wall time, with a resume as often as one is asked for.

    Args:
        monitor: of the graph.
        timeout: patience [s] of wall time.
        came_back: what must hold as well.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if came_back():
            if moving(monitor):
                return True
            if time.monotonic() - monitor.safety_received < 0.3 and monitor.safety.state == SafetyStatus.STOPPED:
                with suppress(TimeoutError):  # it is still coming up
                    monitor.call(Trigger, "resume", Trigger.Request(), timeout=2.0)
        time.sleep(0.01)
    return False
