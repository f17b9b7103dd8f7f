"""Run by an interpreter that has LeRobot: its policy server, and a client that asks it, for `physai bench latency`.

Nothing of this package is imported here. The network is ours, as TorchScript, so that what differs is the way to it.
Called as `python lerobot_worker.py serve|ask SETTINGS.json`; answers are JSON, one a line, on standard output.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle  # nosec: LeRobot's own wire format
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import torch
from lerobot.async_inference.configs import PolicyServerConfig
from lerobot.async_inference.helpers import TimedObservation
from lerobot.async_inference.policy_server import PolicyServer
from lerobot.datasets.utils import hw_to_dataset_features
from lerobot.transport import services_pb2, services_pb2_grpc
from lerobot.transport.utils import grpc_channel_options, send_bytes_in_chunks

_FRAMES = 8
_PRIORITY = 50  # of policy_inference in config/graphs
_LINGER = 1.0  # [s] for the last answers


class OurNetwork:
    """A network traced by `physai_ros`, as LeRobot's server asks a policy."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._cameras = settings["cameras"]
        self._window = settings["window"]
        self._network = torch.jit.load(settings["network"])
        shape = SimpleNamespace(shape=(3, settings["size"], settings["size"]))
        self.config = SimpleNamespace(image_features={f"observation.images.{name}": shape for name in self._cameras})

    def predict_action_chunk(self, observation: dict[str, torch.Tensor]) -> torch.Tensor:
        """Actions (1, steps, action_size)."""
        rows = torch.full((self._window, observation["observation.state"].shape[-1]), float("nan"))
        rows[-1] = observation["observation.state"][0]
        inputs = [rows]
        if self._cameras:
            pictures = [observation[f"observation.images.{name}"][0] for name in self._cameras]
            image = (torch.cat(pictures) * 255.0).to(torch.uint8).permute(1, 2, 0).contiguous()
            inputs += [image, torch.ones(len(self._cameras), dtype=torch.bool)]
        with torch.inference_mode():
            return self._network(*inputs)[0][None]


def serve(settings: dict[str, Any]) -> None:
    """Serve until told to stop, without a pause of its own (`inference_latency`) and without processors."""
    torch.set_num_threads(1)
    config = PolicyServerConfig(
        host="127.0.0.1", port=settings["port"], fps=round(settings["rate"]), inference_latency=0.0
    )
    server = PolicyServer(config)
    server.policy, server.actions_per_chunk = OurNetwork(settings), settings["chunk_steps"]
    server.lerobot_features = hw_to_dataset_features(_features(settings), "observation", use_video=False)
    server.preprocessor = server.postprocessor = lambda given: given
    transport = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    services_pb2_grpc.add_AsyncInferenceServicer_to_server(server, transport)
    transport.add_insecure_port(f"127.0.0.1:{settings['port']}")
    transport.start()
    print(json.dumps("serves"), flush=True)
    transport.wait_for_termination()


def ask(settings: dict[str, Any]) -> None:
    """Send an observation every period and take what comes back, in two threads, as LeRobot's robot client does."""
    channel = grpc.insecure_channel(f"127.0.0.1:{settings['port']}", grpc_channel_options())
    stub = services_pb2_grpc.AsyncInferenceStub(channel)
    stub.Ready(services_pb2.Empty(), wait_for_ready=True)
    sent: dict[int, float] = {}
    answered: dict[int, float] = {}
    done = threading.Event()

    def receive() -> None:
        while not done.is_set():
            chunk = stub.GetActions(services_pb2.Empty())
            if chunk.data:
                actions = pickle.loads(chunk.data)  # nosec
                answered[actions[0].get_timestep()] = time.perf_counter()

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    observations = _observations(settings)
    begin, warm = time.perf_counter() + 0.5, round(settings["rate"])  # a second that does not count
    count = warm + round(settings["seconds"] * settings["rate"])
    for number in range(count):
        time.sleep(max(0.0, begin + number / settings["rate"] - time.perf_counter()))
        sent[number] = time.perf_counter()
        timed = TimedObservation(
            timestamp=time.time(), timestep=number, observation=observations[number % _FRAMES], must_go=True
        )
        stub.SendObservations(send_bytes_in_chunks(pickle.dumps(timed), services_pb2.Observation, silent=True))
    time.sleep(_LINGER)
    done.set()
    latencies = [answered[n] - sent[n] if n in answered else None for n in range(warm, count)]
    print(json.dumps(latencies), flush=True)


def _features(settings: dict[str, Any]) -> dict[str, Any]:
    """What LeRobot calls the hardware's features: named numbers, and pictures by their shape."""
    size = settings["size"]
    numbers = {f"number_{index}": float for index in range(settings["numbers"])}
    return numbers | {name: (size, size, 3) for name in settings["cameras"]}


def _observations(settings: dict[str, Any]) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    size, made = settings["size"], []
    for _ in range(_FRAMES):
        numbers = {f"number_{index}": float(generator.normal()) for index in range(settings["numbers"])}
        pictures = {name: generator.integers(0, 256, (size, size, 3), dtype=np.uint8) for name in settings["cameras"]}
        made.append(numbers | pictures)
    return made


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with contextlib.suppress(PermissionError):  # as the nodes of control have it; what is started from here inherits it
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    {"serve": serve, "ask": ask}[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
