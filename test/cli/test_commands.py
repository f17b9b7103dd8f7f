"""Every command answers --help quickly, and a mistake is one clear line with what to do."""

import json
import os
import subprocess
import sys

import pytest

from physai_ros.cli.main import app
from physai_ros.safety.audit import AuditLog

COMMANDS = (
    "demo",
    "up",
    "collect",
    "train",
    "evaluate",
    "faults",
    "audit",
    "report",
    "bench latency",
    "bench isolation",
    "bench fusion",
    "bench continuity",
    "export onnx",
    "data list",
    "policies list",
    "policies calibrate",
    "bench alarm",
)


def physai(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "physai_ros.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"COLUMNS": "200"},
    )


@pytest.fixture
def here(capsys):
    """Call it with a command line for its exit code, output and error output, run in this process: that is quick."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app(list(arguments), prog_name="physai")
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


def test_as_a_process_it_answers_help_and_ends_with_one_line():
    done = physai("--help")
    assert (done.returncode, "Usage" in done.stdout) == (0, True), done.stderr
    done = physai("up", "mars")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1), done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help(here, command):
    code, out, errors = here(*command.split(), "--help")
    assert code == 0, errors
    assert "Usage" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "--objective", "luck"], "there are bc, rl"),
        (["demo", "--interventions", "maybe"], "expected on or off"),
        (["demo", "--sampler", "best"], "there are ast"),
        (["demo", "--task", "juggle"], "reach"),
        (["faults", "--only", "meteor"], "policy_killed"),
        (["up", "mars"], "sim"),
        (["bench", "latency", "--policies", "smell"], "state or vision"),
        (["bench", "latency", "--rates", "5"], "10 to 200 Hz"),
        (["bench", "continuity", "--delays", "x"], "0 to 1000"),
        (["bench", "isolation", "--policy", "smell"], "state or vision"),
        (["export", "onnx", "--registry", "no_such_registry"], "no_such_registry"),
        (["audit", "no_such_log.jsonl"], "no_such_log.jsonl"),
    ],
)
def test_a_mistake_is_one_line(here, arguments, said):
    code, _, errors = here(*arguments)
    assert code == 1
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    assert said in lines[0]


def test_a_folder_with_a_run_is_not_written_over(here, tmp_path):
    (tmp_path / "registry").mkdir()
    code, _, errors = here("demo", "--run", str(tmp_path))
    assert code == 1
    assert "give another --run" in errors


def test_training_from_an_empty_folder_says_how_to_fill_it(here, tmp_path):
    code, _, errors = here("train", "--data", str(tmp_path), "--out", str(tmp_path / "registry"))
    assert code == 1
    assert "physai collect" in errors or "physai_ros" in errors


def test_audit_verifies_and_prints(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.add("state", state="stopped", reasons=("contact_force", "driver_fault"))
    log.close()
    done = physai("audit", str(log.path), "--head", log.head, "--json", str(tmp_path / "said.json"))
    assert done.returncode == 0, done.stderr
    assert "contact_force driver_fault" in done.stdout
    assert f"whole: 2 records; last hash {log.head}" in done.stdout
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["figures"] == {"records": 2, "dropped": 0, "opened_events": 1, "state_events": 1}

    log.path.write_text(log.path.read_text().replace("contact_force", "contact_farce"))
    done = physai("audit", str(log.path))
    assert done.returncode == 1
    assert "line 2: its contents do not have its hash" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_bench_that_is_told_to_end_takes_along_what_it_started():
    code = """
import signal
from physai_ros.cli.bench import benches
benches()
try:
    print("works", flush=True)
    signal.pause()
finally:
    print("cleared")
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "works\n"
    child.terminate()
    assert child.communicate(timeout=60.0)[0] == "cleared\n"
    assert child.returncode == 143
