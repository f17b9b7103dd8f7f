"""For all tests: a DDS domain of their own on the loopback interface, and no skip without a reason."""

import importlib.util
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from physai_ros.deployment.environment import graph_environment, prepare_process

SKIPS = Path(__file__).with_name("allowed_skips.yaml")

# Before anything imports rclpy. Linux hands out ports above those of domain 101 to others.
prepare_process()
os.environ |= graph_environment(os.environ, domain=random.SystemRandom().randint(10, 101), simulated=True)

_refused: list[str] = []


@pytest.fixture(scope="session")
def taught_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run whose registry has a policy in force, which learned to reach in the embedded simulator."""
    from physai_ros.evaluation.driving import DemonstrationNoise
    from physai_ros.evaluation.rollout import Rollout
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.catalog import load_task
    from physai_ros.training.config import TrainerConfig
    from physai_ros.transfer.first_policy import first_policy

    folder = tmp_path_factory.mktemp("taught")
    first_policy(
        Rollout(RobotSpec.load("fr3_sim"), load_task("reach")),
        folder,
        TrainerConfig(seed=0, warm_start_updates=250),
        demonstrations=10,
        seed=0,
        noise=DemonstrationNoise(),
        on_demonstration=lambda _done, _total: None,
        on_update=lambda _done, _total: None,
    )
    return folder


@pytest.fixture
def chain_of(taught_run: Path) -> Callable:
    """Call it with a driver and its arm for the chain from that policy to it (test/driver_chain.py)."""
    place = importlib.util.spec_from_file_location("driver_chain", Path(__file__).with_name("driver_chain.py"))
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return lambda driver, spec, **checks: module.Chain(driver, spec, taught_run / "registry", **checks)


def pytest_report_header() -> str:
    """Say which domain this run has."""
    return f"ROS_DOMAIN_ID {os.environ['ROS_DOMAIN_ID']}, loopback only"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a skipped test that is not allowed to be skipped."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _judge(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a skipped file that is not allowed to be skipped."""
    if report.skipped:
        _judge(report.nodeid)


def _judge(test: str) -> None:
    allowed = yaml.safe_load(SKIPS.read_text()) or {}
    if not any(test.startswith(beginning) for beginning in allowed):
        _refused.append(test)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a test was skipped without a reason on the list."""
    if _refused and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that were skipped without a reason on the list."""
    for test in _refused:
        terminalreporter.write_line(f"SKIPPED WITHOUT A REASON in {SKIPS.name}: {test}", red=True)
