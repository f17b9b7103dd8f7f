"""LeRobot's asynchronous policy server beside our graph: the same network, asked at the same rate, over loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from physai_ros.cli.latency_record import percentiles_ms
from physai_ros.policy.deciding import Deciding, sample_inputs
from physai_ros.policy.registry import Policy

WORKER = Path(__file__).with_name("lerobot_worker.py")
_START = 120.0  # [s] patience with its imports


def measure_lerobot(python: Path, policy: Policy, rate: float, seconds: float) -> dict[str, float]:
    """From an observation at LeRobot's client to its action there, as percentiles [ms], and the share missed.

    Server and client are processes of that interpreter, with the real-time priority of the nodes of control. What
    LeRobot has not is not in it: no fusion, no safety monitor, no driver. Its pause between answers, its processors and
    its log are off, and every observation must be answered (`must_go`).

    Raises:
        RuntimeError: one of the two did not work; the message has its last line.
    """
    shape = policy.manifest.architecture
    cameras = list(shape.senses.cameras) if shape.senses is not None and shape.sees else []
    with tempfile.TemporaryDirectory(prefix="physai-") as folder:
        settings = {
            "network": str(_traced(policy, Path(folder) / "network.pt")),
            "numbers": shape.observation_size,
            "window": shape.window,
            "chunk_steps": shape.chunk_steps,
            "cameras": cameras,
            "size": shape.senses.image[0] if cameras else 0,
            "rate": rate,
            "seconds": seconds,
            "port": _free_port(),
        }
        file = Path(folder) / "settings.json"
        file.write_text(json.dumps(settings))
        command = [str(python), str(WORKER)]
        with (Path(folder) / "server.log").open("w+") as log:
            # It keeps a folder of logs where it is started.
            server = subprocess.Popen(
                [*command, "serve", str(file)], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
            )
            try:
                if not server.stdout.readline():
                    log.seek(0)
                    raise RuntimeError(f"LeRobot's server did not start: {_last_line(log.read())}")
                asked = subprocess.run(
                    [*command, "ask", str(file)],
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    timeout=_START + 2 * seconds,
                )
            finally:
                server.terminate()
                with suppress(subprocess.TimeoutExpired):
                    server.wait(10.0)
                server.kill()
        if asked.returncode:
            raise RuntimeError(f"LeRobot's client failed: {_last_line(asked.stderr)}")
    return lerobot_figures(json.loads(asked.stdout.splitlines()[-1]), 1.0 / rate)


def lerobot_figures(latencies: list[float | None], deadline: float) -> dict[str, float]:
    """Figures of latencies [s], None where no answer came; a deadline [s] is missed by those and by what is later."""
    known = [latency for latency in latencies if latency is not None]
    late = sum(latency is None or latency > deadline for latency in latencies)
    figures = {f"lerobot_{name}": value for name, value in percentiles_ms(known).items()}
    return figures | {"lerobot_missed_share": late / len(latencies) if latencies else float("nan")}


def _traced(policy: Policy, path: Path) -> Path:
    """The network as a file of TorchScript."""
    inputs = sample_inputs(policy.manifest.architecture, np.random.default_rng(0)).arrays()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(
            Deciding(policy.network).eval(), tuple(map(torch.from_numpy, inputs)), check_trace=False
        )
        traced.save(str(path))
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
