"""`physai evaluate` and `physai policies` on a registry."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from physai_ros.cli.main import app
from physai_ros.policy.registry import PolicyRegistry


def test_policies_are_compared_promoted_and_taken_back(own_registry: PolicyRegistry, tmp_path: Path) -> None:
    def physai(*arguments: object) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    registry = ("--registry", own_registry.folder)
    assert "000001 is active, generation 1" in physai("policies", "promote", "000001", "--untested", *registry)
    file = tmp_path / "evaluate.json"
    pair = ("--policy", "000002", "--against", "current", "--task", "reach", "--episodes", 6, "--workers", 0)
    shown = physai("evaluate", *pair, *registry, "--json", file)
    assert "better: gain +100 points" in shown
    result = json.loads(file.read_text())
    assert result["verdict"] == "better"
    assert {"success", "lower", "upper", "episodes", "episodes_per_second", "p_value", "e_value"} <= set(
        result["figures"]
    )
    assert (result["figures"]["success"], result["figures"]["episodes"], len(result["rows"])) == (1.0, 12, 12)
    assert "000002 is active, generation 2: better" in physai(
        "policies", "promote", "000002", "--episodes", 6, *registry
    )
    assert "000001 is active again, generation 3" in physai("policies", "rollback", *registry)
    assert "generation 3, rollback" in physai("policies", "list", *registry)
