"""The safety bench tells a decision's time beside what it is built on, and beside the machine's own scatter."""

import json

from typer.testing import CliRunner

from physai_ros.cli.main import app


def test_decisions_stand_beside_their_parts_and_beside_plain_arithmetic(tmp_path):
    written = tmp_path / "safety.json"
    parts = "--decisions 200 --fuzz 0 --hours 0 --episodes 0 --seconds 0"
    said = CliRunner().invoke(app, ["bench", "safety", *parts.split(), "--json", str(written)])
    assert said.exit_code == 0, said.output
    result = json.loads(written.read_text())
    cases = [row["case"] for row in result["rows"]]
    assert [case.split(",")[0] for case in cases[:4]] == ["decision", "the same", "decision", "clip only"]
    assert "plain arithmetic" in cases[-1] and len(cases) == 6
    assert all(0.0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"] for row in result["rows"])
    figures = result["figures"]
    assert figures["decision_least_p99_ms"] <= figures["decision_p99_ms"]
    assert figures["plain_p99_ms"] == result["rows"][-1]["p99_ms"]
