"""The live graph that faults are brought about in, with all that is needed to do so made beforehand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import Trigger

from physai_ros import msg, srv
from physai_ros.cli.fault_record import Record
from physai_ros.cli.fault_relay import REMAPPINGS, Relay
from physai_ros.cli.live_graph import live_graph
from physai_ros.deployment.supervised import SupervisedGraph
from physai_ros.ros import qos
from physai_ros.ros.graph_monitor import GraphMonitor

TASK = "physai_ros.tasks.laps:Laps"
OBJECT_TIMEOUT = 0.05
"""Age at which object poses are stale in the rig [s]; they come at 100 Hz there."""
_DEMONSTRATIONS = 2  # of three minutes each


class Rig:
    """A running graph, what listens to it, and writers and clients that wait for their use: discovery takes time."""

    def __init__(self, graph: SupervisedGraph, monitor: GraphMonitor, relay: Relay, seed: int) -> None:
        self.graph = graph
        self.monitor = monitor
        self.relay = relay
        self.seed = seed
        self.record = Record(monitor)
        self.pids: dict[str, int] = {}
        self.trigger = Trigger.Request()
        node = relay.node
        self.command_writer = node.create_publisher(msg.SafeCommand, "safe_command", qos.CONTROL_WRITER)
        self.intervention_writer = node.create_publisher(msg.Intervention, "intervention", qos.INTERVENTION)
        self.update_writer = node.create_publisher(msg.PolicyUpdate, "policy_update", qos.LATCHED)
        self.stop_safety = node.create_client(Trigger, "emergency_stop")
        self.stop_driver = node.create_client(Trigger, "driver/emergency_stop")
        self.claim = node.create_client(srv.ClaimDriver, "claim_driver")
        self._diagnoses: dict[str, str] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.EVENT)

    def note_pids(self) -> None:
        """Look up who runs now, so that it need not be done between the decision to kill and the kill."""
        self.pids = {status.name: status.pid for status in self.graph.statuses()}

    def diagnosis(self, node: str) -> str:
        """What a node last said of itself in `/diagnostics`."""
        return self._diagnoses.get(node, "")

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name.startswith(f"/{self.graph.namespace}/"):
                self._diagnoses[status.hardware_id] = status.message


@contextmanager
def fault_rig(seed: int, namespace: str, run: Path | None = None) -> Iterator[Rig]:
    """A rig whose arm goes round and round, fast, while the block lasts.

    Raises:
        TimeoutError: the arm did not begin to move.
    """
    relays: list[Relay] = []

    @contextmanager
    def beside() -> Iterator[None]:
        with Relay(namespace) as relay:
            relays.append(relay)
            yield

    settings = {
        "sensor_fusion": {"task": TASK, "object_timeout": OBJECT_TIMEOUT},
        # The trainer is never done, as it would be at work on a robot that learns.
        "sparse_trainer": {"updates_per_episode": 100_000},
    }
    with live_graph(
        TASK,
        seed,
        namespace=namespace,
        run=run,
        demonstrations=_DEMONSTRATIONS,
        remappings=REMAPPINGS,
        beside=beside,
        more=settings,
    ) as (graph, monitor):
        yield Rig(graph, monitor, relays[0], seed)


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    """Whether a condition came to hold within `seconds` of wall time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True
