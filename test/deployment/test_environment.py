"""What a process of a graph talks by, seen from outside."""

import os
import subprocess
import sys
from pathlib import Path

from physai_ros.deployment.environment import THREADS, graph_environment

NODE = "import rclpy, sys; rclpy.init(); node = rclpy.create_node('n'); print('up', flush=True); sys.stdin.read()"


def bound_addresses(process: int) -> list[str]:
    """Addresses, in the kernel's own spelling, of a process's UDP sockets."""
    sockets = {os.readlink(each) for each in Path(f"/proc/{process}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if f"socket:[{row[9]}]" in sockets]


def test_numerical_libraries_have_one_thread_unless_told_otherwise():
    script = "from physai_ros.cli.main import prepare_process; prepare_process(); "
    script += "import torch; print(torch.get_num_threads())"
    own = {name: value for name, value in os.environ.items() if name not in THREADS}
    for chosen, threads in (({}, 1), (dict.fromkeys(THREADS, "2"), 2)):
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=own | chosen)
        assert said.stdout.split()[-1] == str(threads), said.stderr


def test_a_simulated_graph_shares_no_memory_and_stays_on_the_loopback_interface():
    own = {name: value for name, value in os.environ.items() if not name.startswith("FASTDDS_")}
    own["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"  # by which rmw_fastrtps would add shared memory
    environment = graph_environment(own, domain=int(os.environ["ROS_DOMAIN_ID"]), simulated=True)
    command = [sys.executable, "-c", NODE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "up\n"
        maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
        addresses = bound_addresses(process.pid)
        process.stdin.close()
    assert "/dev/shm/fast" not in maps
    # 127.0.0.1, and the group by which participants find each other, joined on that interface alone.
    assert addresses
    assert set(addresses) <= {"0100007F", "0100FFEF"}
