"""A Ray cluster of two workers on this machine gives the results that this process gives, whatever happens to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.evaluation.cluster import RayCluster
from physai_ros.evaluation.parallel import Cancelled, TrialCrew, TrialError, run_trials
from physai_ros.evaluation.protocol import EvaluationRequest, evaluate
from physai_ros.evaluation.scenario_sets import scenario_seeds
from physai_ros.evaluation.trials import Trial, TrialResult, TrialSettings
from physai_ros.policy.registry import PolicyRegistry

# Ray turns a loopback address into the machine's own, and then listens everywhere, unless it is a cluster of one; it
# reads this when it is imported.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
ray = pytest.importorskip("ray", reason="Ray is an optional extra (requirements/cluster.txt)")

SEEDS = scenario_seeds("nominal", 0, 6)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """Two cores on the loopback interface alone, without a dashboard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=80 * 1024**2,
            _node_ip_address="127.0.0.1",
        )
        try:
            assert ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"
            yield RayCluster("auto")
        finally:
            ray.shutdown()


@pytest.fixture(scope="module")
def crew(cluster: RayCluster) -> Iterator[TrialCrew]:
    assert cluster.cores == 2
    with TrialCrew(cluster.cores, engine=cluster.start) as crew:
        yield crew


def runners() -> list[psutil.Process]:
    """The processes of Ray's that run trials now."""
    return [
        each for each in psutil.Process().children(recursive=True) if "TrialServer.answer" in "".join(each.cmdline())
    ]


def test_the_engine_changes_nothing_and_a_lost_worker_neither(crew: TrialCrew, registry: PolicyRegistry) -> None:
    shifted = TrialSettings("reach", str(registry.folder), physics={"encoder_noise": 0.004, "actuator_delay": 0.05})
    twin = TrialSettings("reach", str(registry.folder), twin=3)
    trials = [Trial(i, seed, "000002") for i, seed in enumerate(SEEDS)]
    heard: list[int] = []

    def kill(result: TrialResult) -> None:
        if not heard:
            runners()[0].kill()
        heard.append(result.index)

    for settings, on_result in ((shifted, None), (twin, kill), (shifted, None)):
        beside = crew.run(trials, settings, on_result=on_result)
        assert [result.outcome() for result in beside] == [result.outcome() for result in run_trials(trials, settings)]
    assert sorted(heard) == list(range(len(trials)))


def test_an_evaluation_that_was_cut_off_goes_on_here_or_there(
    crew: TrialCrew, registry: PolicyRegistry, tmp_path: Path
) -> None:
    settings = TrialSettings("reach", str(registry.folder))
    request = EvaluationRequest("000002", "reach", against="000001", episodes=3)
    done: list[TrialResult] = []
    with pytest.raises(Cancelled):
        evaluate(
            request,
            settings,
            crew=crew,
            on_result=done.append,
            cancelled=lambda: len(done) >= 2,
            journal=tmp_path / "a",
        )
    kept = len((tmp_path / "a").read_bytes().splitlines()) - 1
    assert 2 <= kept < 6
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes())
    there = evaluate(request, settings, crew=crew, journal=tmp_path / "a")
    here = evaluate(request, settings, journal=tmp_path / "b")
    assert there.rows() == here.rows() == evaluate(request, settings).rows()


def test_what_goes_wrong_on_a_cluster_is_said_in_words(crew: TrialCrew, registry: PolicyRegistry) -> None:
    with pytest.raises(TrialError, match=r"on .+: there is no policy '000009'"):
        crew.run([Trial(0, SEEDS[0], "000009")], TrialSettings("reach", str(registry.folder)))


def test_commands_run_on_a_cluster(
    cluster: RayCluster, own_registry: PolicyRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where workers must find `registry`
    command = ["evaluate", "--policy", "000002", "--task", "reach", "--episodes", "3", "--registry", "registry"]
    rows = []
    for place in (["--workers", "0"], ["--cluster", "auto"]):
        done = CliRunner().invoke(app, [*command, *place, "--json", "figures.json"])
        assert done.exit_code == 0, done.output
        rows.append(json.loads(Path("figures.json").read_text())["rows"])
    assert rows[0] == rows[1]
    collected = ["collect", "--task", "reach", "--episodes", "2", "--out", "episodes", "--cluster", "auto"]
    assert "2 demonstrations of reach" in CliRunner().invoke(app, collected).output
