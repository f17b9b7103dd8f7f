"""Evaluations that were killed go on where they were: the command, and the service that comes back."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from physai_ros.evaluation.jobs import EvaluationJobs, JobOutcome, read_status
from physai_ros.evaluation.parallel import TrialError
from physai_ros.evaluation.promotion import PromotionRule
from physai_ros.evaluation.protocol import EvaluationRequest, evaluate
from physai_ros.evaluation.service import EvaluationService
from physai_ros.evaluation.trials import Trial, TrialResult, TrialSettings
from physai_ros.policy.registry import PolicyRegistry

ROOT = Path(__file__).resolve().parents[2]


def test_a_service_takes_up_what_an_earlier_one_left(own_registry: PolicyRegistry) -> None:
    settings = TrialSettings("reach", str(own_registry.folder))
    request = EvaluationRequest("000002", "reach", episodes=3, seed=4)
    whole = evaluate(request, settings)
    left = iter(whole.results[:2])

    def killed(trials: list[Trial]) -> list[TrialResult]:
        by_index = {result.index: result for result in whole.results}
        if next(left, None) is None:
            raise TrialError("the power went")
        return [by_index[trials[0].index]]

    journal = own_registry.folder / "evaluations" / "abc.journal"
    with pytest.raises(TrialError):
        evaluate(request, settings, run=killed, journal=journal)
    service = EvaluationService(own_registry, settings, PromotionRule(), workers=0)
    deadline = time.monotonic() + 120.0
    while not service.jobs.status("abc").finished:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    status = service.jobs.status("abc")
    assert (status.state, status.episodes_done, len(status.report["rows"])) == ("done", 3, 3)
    assert status.report["rows"] == whole.rows()
    assert not journal.exists()
    service.close()
    assert read_status(own_registry.folder / "evaluations", "abc") == status
    again = EvaluationService(own_registry, settings, PromotionRule(), workers=0)
    assert again.jobs.all() == []
    again.close()


def test_an_end_that_cannot_be_written_leaves_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("physai_ros.evaluation.jobs.replace_file", full)
    jobs = EvaluationJobs(tmp_path)
    jobs.journal("abc").write_text("an episode")
    jobs.submit(EvaluationRequest("000001", "reach"), lambda _: JobOutcome("better", "", {}), "abc")
    deadline = time.monotonic() + 30.0
    while not jobs.status("abc").finished:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert "not kept: No space left on device" in jobs.status("abc").detail
    assert jobs.journal("abc").read_text() == "an episode"
    jobs.close()


def command(registry: PolicyRegistry, journal: Path, json_file: Path) -> list[str]:
    pair = ["--policy", "000002", "--against", "000001", "--task", "reach", "--episodes", "8", "--workers", "2"]
    files = ["--registry", str(registry.folder), "--journal", str(journal), "--json", str(json_file)]
    return [sys.executable, "-m", "physai_ros.cli.main", "evaluate", *pair, *files]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_command_that_is_killed_again_and_again_loses_nothing(own_registry: PolicyRegistry, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    whole = tmp_path / "whole.json"
    subprocess.run(command(own_registry, tmp_path / "whole.journal", whole), env=environment, check=True)
    journal, result = tmp_path / "journal", tmp_path / "result.json"
    lines = 0
    for ending in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(command(own_registry, journal, result), env=environment)
        # Two more episodes, then the end, wherever it is then.
        while (
            process.poll() is None and (len(journal.read_bytes().splitlines()) if journal.exists() else 0) < lines + 3
        ):
            time.sleep(0.005)
        process.send_signal(ending)
        process.wait()
        now = len(journal.read_bytes().splitlines())
        assert now >= lines
        lines = now
    assert not result.exists()
    subprocess.run(command(own_registry, journal, result), env=environment, check=True)
    indices = [json.loads(line)["result"]["index"] for line in journal.read_bytes().splitlines()[1:]]
    assert sorted(indices) == list(range(16))
    assert json.loads(result.read_text())["rows"] == json.loads(whole.read_text())["rows"]
