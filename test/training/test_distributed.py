"""Two real processes on loopback train as one does: the same weights, the same scores, the same choices."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

_CHILD = """
import sys
sys.path[:0] = sys.argv[3].split(":")
import numpy as np
import torch
from safetensors.numpy import save_file
torch.set_num_threads(1)
from physai_ros.training.config import TrainerConfig
from physai_ros.training.dataset import Transitions
from physai_ros.training.distributed import ranks
from physai_ros.training.trainer import SparseTrainer
group = ranks()
generator = np.random.default_rng(0)
count = 600
observations = generator.normal(size=(count, 9)).astype(np.float32)
full = np.ones(count, dtype=np.float32)
rows = Transitions(
    observations=observations, actions=np.tanh(observations[:, None, :3]), action_known=full[:, None],
    imitable=full > 0, demonstration=full > 0, success=full, time_to_end=full, force_excess=0 * full,
    intervention_age=np.full(count, np.inf, dtype=np.float32),
)
config = TrainerConfig(sampler=sys.argv[2], batch_size=33, hidden_sizes=(32, 32), control_every=10, held_out_share=0.1)
trainer = SparseTrainer(9, 3, config, ranks=group)
trainer.add(rows, "one")
for _ in range(40):
    trainer.update(1e-3)
arrays, values = trainer.state()
kept = {name: np.ascontiguousarray(value) for name, value in arrays.items() if value.size}
kept["counts"] = np.array([trainer.counters.offered, trainer.counters.forward, trainer.counters.backward])
kept["loss"] = np.array([trainer.loss])
save_file(kept, sys.argv[1] + f"/{group.count}-{group.number}.safetensors")
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("sampler", ["ast", pytest.param("infobatch", marks=pytest.mark.slow)])
def test_two_processes_come_to_what_one_comes_to(tmp_path, sampler):
    arguments = [sys.executable, "-c", _CHILD, str(tmp_path), sampler, os.pathsep.join(p for p in sys.path if p)]
    loopback = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}
    alone = subprocess.Popen(arguments)
    together = [
        subprocess.Popen(arguments, env=os.environ | loopback | {"RANK": str(rank), "WORLD_SIZE": "2"})
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in (alone, *together)] == [0, 0, 0]
    one, first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("1-0", "2-0", "2-1"))
    assert set(one) == set(first) == set(second)
    for name, value in first.items():
        # Between processes to the last bit: else they would choose otherwise, sooner or later.
        np.testing.assert_array_equal(value, second[name], err_msg=name)
        np.testing.assert_allclose(value, one[name], rtol=1e-3, atol=1e-5, err_msg=name)
