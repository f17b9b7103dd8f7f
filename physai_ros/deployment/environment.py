"""The environment that ROS 2 processes need, so that a user sets none of it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from physai_ros.robot.share import share_path

_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Of each numerical library there is one thread, where the user did not choose otherwise.

Networks of this size gain nothing by two. On few cores, idle threads that spin cost the control loop its deadlines, and
where other processes want the cores, one thread waits, spinning, for another that is not let in.
"""
WHEEL_GUARD = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"


def installed_prefix() -> Path:
    """Return the prefix of the Python environment that runs, where ROS 2's wheels keep their `share` and `lib`."""
    return Path(sys.prefix)


def ament_prefix_path(environment: Mapping[str, str]) -> str:
    """Return `AMENT_PREFIX_PATH` of `environment`, completed by this environment's prefix where ROS 2 lies in it."""
    entries = [entry for entry in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    prefix = installed_prefix()
    if (prefix / "share" / "ament_index").is_dir() and str(prefix) not in entries:
        entries.append(str(prefix))
    return os.pathsep.join(entries)


def prepare_process() -> None:
    """Complete this process's own environment; call it before rclpy and any numerical library is imported."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
    path = ament_prefix_path(os.environ)
    if path:
        os.environ["AMENT_PREFIX_PATH"] = path
    if "HOME" not in os.environ and "ROS_LOG_DIR" not in os.environ and "ROS_HOME" not in os.environ:
        os.environ["ROS_LOG_DIR"] = str(Path(os.environ.get("TMPDIR", "/tmp")) / "physai_ros_log")


def talk_as(environment: Mapping[str, str]) -> None:
    """Let this process talk as those of a graph with that environment do; call it before rclpy makes a context."""
    ours = ("ROS_", "FASTDDS_", "RMW_", "AMENT_")
    os.environ.update({name: value for name, value in environment.items() if name.startswith(ours)})


def talk_as_simulated() -> None:
    """Let this process, and its children, talk as those of a graph that moves no real robot do."""
    talk_as(graph_environment(os.environ, domain=int(os.environ.get("ROS_DOMAIN_ID") or 0), simulated=True))


def foreign_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` for a child that runs another Python environment than this one.

    ROS 2's wheels prepare a process by executing Python again with `LD_LIBRARY_PATH` set, and mark that as done in a
    variable that children inherit. Both belong to this environment and would mislead another one.
    """
    hidden = (WHEEL_GUARD, "LD_LIBRARY_PATH", "AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in environment.items() if name not in hidden}


def graph_environment(environment: Mapping[str, str], *, domain: int, simulated: bool) -> dict[str, str]:
    """Return `environment` with what every process of a graph gets, where the user did not choose otherwise.

    Fast DDS talks by UDP alone: a process that is killed while it holds the lock of a shared-memory port stalls
    everybody who writes to that port for up to a second, the driver among them.

    Args:
        environment: what to start from.
        domain: the DDS domain, 0 to 232.
        simulated: whether traffic stays on this machine.
    """
    result = dict(environment)
    result["ROS_DOMAIN_ID"] = str(domain)
    for name in THREADS:
        result.setdefault(name, "1")
    # A log is read while the graph runs, so lines leave the process when they are written.
    result.setdefault("PYTHONUNBUFFERED", "1")
    result.setdefault("RCUTILS_LOGGING_BUFFERED_STREAM", "0")
    path = ament_prefix_path(result)
    if path:
        result["AMENT_PREFIX_PATH"] = path
    if simulated:
        loopback = str(share_path("config", "fastdds.xml"))
        ours = result.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", loopback) == loopback
        if result.setdefault(_RANGE, "LOCALHOST") == "LOCALHOST" and ours:
            # By that range rmw_fastrtps adds shared memory to whatever the profile says, and ours stays on the
            # loopback interface by itself.
            result[_RANGE] = "SYSTEM_DEFAULT"
    result.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    return result
