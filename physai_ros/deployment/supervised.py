"""A running graph under supervisord: start, look, stop, with nothing left behind."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from physai_ros.deployment import tied
from physai_ros.deployment.claims import Claim, claim_device, claim_graph
from physai_ros.deployment.environment import graph_environment
from physai_ros.deployment.graph import Graph
from physai_ros.deployment.parameters import Overrides, graph_parameters, read_parameters, write_parameters
from physai_ros.deployment.shared_memory import SegmentRecord
from physai_ros.deployment.supervisor_files import socket_path, write_supervisor_files
from physai_ros.robot.share import share_path

STOP_SECONDS = 4.0
"""After this long an ordered stop becomes a kill, so that all is over within 5 s."""
_YOUNG_SECONDS, _OBSERVE_YOUNG, _OBSERVE = 10.0, 0.5, 10.0
"""Time [s] after any process came or went, and between two looks at what processes have mapped, before and after it.

The lists are long, whoever is looked at waits meanwhile, and segments are made when a process starts.
"""
SUPERVISORD = "import sys; from supervisor.supervisord import main; main(sys.argv[1:])"


@dataclass(frozen=True)
class ProcessStatus:
    """What supervisord says of one process."""

    name: str
    state: str
    """STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or STOPPED."""
    pid: int
    """0 when it does not run."""
    exit_code: int
    """Of the last time it ended; 0 when killed."""


class SupervisedGraph:
    """One graph in one namespace, with a folder for its logs.

    Use it as a context manager, or call `start` and `stop`. Start it from a thread that lives as long as the graph: the
    processes are tied to the thread that made them.
    """

    def __init__(
        self,
        graph: Graph,
        run: Path,
        *,
        namespace: str = "physai",
        domain: int | None = None,
        parameter_file: Path | None = None,
        settings: Overrides | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Describe what to run; nothing is started, claimed or written yet.

        Args:
            graph: the processes.
            run: a folder of this run; made if need be.
            namespace: ROS namespace of all nodes.
            domain: DDS domain; None: ROS_DOMAIN_ID, or 0.
            parameter_file: YAML as for `--params-file`; None: `config/<graph>.yaml` if there is one.
            settings: node → parameter → value, over all else.
            environment: what processes inherit; None: this process's own.
        """
        self.graph = graph
        self.run = run.absolute()
        self.namespace = namespace.strip("/")
        base = dict(os.environ if environment is None else environment)
        self.domain = int(base.get("ROS_DOMAIN_ID") or 0) if domain is None else domain
        if not 0 <= self.domain <= 232:
            raise ValueError(f"Domain {self.domain} is outside 0 to 232.")
        if parameter_file is None:
            shipped = share_path("config", f"{graph.name}.yaml")
            parameter_file = shipped if shipped.is_file() else None
        self.parameter_file = None if parameter_file is None else Path(parameter_file).absolute()
        self.settings = settings or {}
        self.environment = graph_environment(base, domain=self.domain, simulated=graph.simulated)
        self._claims: list[Claim] = []
        self._supervisord: subprocess.Popen[bytes] | None = None
        self._segments: SegmentRecord | None = None
        self._socket = Path()
        self._observed = self._changed = -math.inf
        self._pids: set[int] = set()

    def start(self) -> None:
        """Claim the namespace and start all processes in order.

        Raises:
            ClaimedError: another graph has the namespace or a device.
            RuntimeError: supervisord did not come up.
        """
        chosen = self._merged_parameters()
        holder = f"physai graph {self.graph.name}"
        try:
            self._claims.append(claim_graph(self.domain, self.namespace, holder))
            for process in self.graph.processes:
                device = str(chosen.get(process.name, {}).get(process.device) or "") if process.device else ""
                if device:
                    self._claims.append(claim_device(device, holder))
            # In lock-step the processes wait for each other alone, and would leave no time to any other.
            self._spawn(realtime=all(each.get("mode") != "lock_step" for each in chosen.values()))
        except BaseException:
            self.stop()
            with suppress(OSError):
                self.run.rmdir()  # a folder that was made for a run that never began; one that holds anything stays
            raise

    def _spawn(self, *, realtime: bool) -> None:
        self.run.mkdir(parents=True, exist_ok=True)
        self._segments = SegmentRecord(self._claims[0].path.with_suffix(".segments"))
        self._segments.remove_litter()
        files = [write_parameters(self.run / "graph_parameters.yaml", graph_parameters(self.graph, self.run))]
        files += [self.parameter_file] if self.parameter_file else []
        files += [write_parameters(self.run / "settings.yaml", self.settings)] if self.settings else []
        self._socket = socket_path(self.run)
        added = {name: value for name, value in self.environment.items() if os.environ.get(name) != value}
        configuration = write_supervisor_files(
            self.graph, self.run, self._socket, self.namespace, files, added, realtime=realtime
        )
        parent = os.getpid()
        with (self.run / "logs" / "supervisord.out").open("wb") as output:
            self._supervisord = subprocess.Popen(
                [sys.executable, "-c", SUPERVISORD, "--configuration", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                pass_fds=[claim.descriptor for claim in self._claims],
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the others in order
                preexec_fn=lambda: tied.die_with_parent(parent, signal.SIGTERM),
            )
        deadline = time.monotonic() + 15
        while not self._answers():
            if self._supervisord.poll() is not None or time.monotonic() > deadline:
                said = (self.run / "logs" / "supervisord.out").read_text(errors="replace").strip().splitlines()
                raise RuntimeError(f"supervisord did not start: {said[-1] if said else 'it said nothing'}")
            time.sleep(0.05)

    def statuses(self) -> list[ProcessStatus]:
        """Return what each process does now, in start order; remembers their shared memory by the way."""
        names = [process.name for process in self.graph.in_order]
        said = None
        if self._answers():
            with suppress(OSError, Fault):  # it may be on its way out
                said = {entry["name"]: entry for entry in self._call("getAllProcessInfo")}
        if said is None:
            return [ProcessStatus(name, "STOPPED", 0, 0) for name in names]
        result = [
            ProcessStatus(name, said[name]["statename"], said[name]["pid"], said[name]["exitstatus"]) for name in names
        ]
        self._observe({status.pid for status in result if status.pid})
        return result

    def _observe(self, pids: set[int]) -> None:
        """Note the shared memory of processes, so that it can be removed when they did not do so themselves."""
        now = time.monotonic()
        if pids != self._pids:
            self._pids, self._changed = pids, now
        period = _OBSERVE_YOUNG if now - self._changed < _YOUNG_SECONDS else _OBSERVE
        if self._segments is not None and now - self._observed >= period:
            self._observed = now
            self._segments.observe(pids)

    @property
    def alive(self) -> bool:
        """Whether supervisord runs."""
        return self._supervisord is not None and self._supervisord.poll() is None

    def pid(self, name: str) -> int:
        """Return the process id of a node, 0 if it does not run now."""
        self.graph.process(name)
        return next(status.pid for status in self.statuses() if status.name == name)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a node's process, e.g. SIGKILL or SIGSTOP for a test of faults.

        Raises:
            ProcessLookupError: it does not run.
        """
        pid = self.pid(name)
        if not pid:
            raise ProcessLookupError(f"{name} does not run in graph {self.graph.name!r}.")
        os.kill(pid, number)

    def log(self, name: str) -> Path:
        """Return the log file of a node."""
        return self.run / "logs" / f"{name}.log"

    def stop(self) -> float:
        """Stop all processes in reverse order, by force after 4 s; return how long it took [s]."""
        began = time.monotonic()
        supervisord = self._supervisord
        if supervisord is not None:
            self._observed = -math.inf  # one last look
            pids = [status.pid for status in self.statuses() if status.pid]
            with suppress(OSError, Fault):
                self._call("shutdown")
            try:
                supervisord.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                # Their end is tied to supervisord's, so nothing can be restarted in between.
                supervisord.kill()
                supervisord.wait()
            _wait_gone(pids, 0.8)
            self._supervisord = None
            if self._socket.parent != self.run:
                with suppress(OSError):
                    self._socket.unlink(missing_ok=True)
                    self._socket.parent.rmdir()
        if self._segments is not None:
            self._segments.remove_litter()
        for claim in self._claims:
            claim.release()
        self._claims = []
        return time.monotonic() - began

    def __enter__(self) -> "SupervisedGraph":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _merged_parameters(self) -> Overrides:
        """Return what the nodes will be given, as far as it is not a default of theirs."""
        merged = graph_parameters(self.graph, self.run)
        sources = [read_parameters(self.parameter_file, self.graph)] if self.parameter_file else []
        for source in [*sources, self.settings]:
            for node, parameters in source.items():
                merged.setdefault(node, {}).update(parameters)
        return merged

    def _answers(self) -> bool:
        if not self.alive:
            return False
        try:
            return self._call("getState")["statename"] in ("RUNNING", "RESTARTING", "SHUTDOWN")
        except (OSError, Fault):
            return False

    def _call(self, method: str) -> object:
        """Call supervisord, with a connection of its own: a kept one would hold supervisord's answer of last time."""
        transport = SupervisorTransport(serverurl=f"unix://{self._socket}")
        try:
            return getattr(ServerProxy("http://127.0.0.1", transport=transport).supervisor, method)()
        finally:
            transport.close()


def _wait_gone(pids: Iterable[int], seconds: float) -> None:
    """Wait until processes have ended, up to `seconds`; then kill the rest."""
    left = set(pids)
    deadline = time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if _runs(pid)}
        time.sleep(0.02)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
