"""`physai export onnx`: a policy as one file for an edge computer without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def onnx(
    registry: Annotated[Path, typer.Option(help="Folder of the policy versions.")] = Path("registry"),
    policy: Annotated[str, typer.Option(help="Version, or 'current'.")] = "current",
    precision: Annotated[
        str, typer.Option(help="full; fp16: half the size; int8: matrix products of 8-bit whole numbers.")
    ] = "full",
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="policy.onnx beside the version's weights")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the inputs that it is compared on.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Write a policy as ONNX, and compare what ONNX Runtime makes of it with the policy itself.

    It must agree to 1e-5; in reduced precision to 0.02 in actions (units of the action scale), value and uncertainty.
    Beside the version's weights, the inference node finds the file and uses it where it is the quickest; one of reduced
    precision only where its parameter `precision` permits it.
    """
    import torch

    from physai_ros.cli.results import write_json
    from physai_ros.evaluation.protocol import resolve_version
    from physai_ros.policy.acting import SensingNetwork
    from physai_ros.policy.onnx_file import FILES, OnnxDecider, export_onnx
    from physai_ros.policy.parity import differences, objection
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.policy.runtimes import choose

    if precision not in FILES:
        raise ValueError(f"there is no precision '{precision}'; there are {', '.join(FILES)}")
    torch.set_num_threads(1)
    policies = PolicyRegistry(registry)
    version = resolve_version(policies, policy)
    loaded = policies.load(version)
    beside = registry / version / FILES[precision]
    path = out or beside
    reduced = precision != "full"
    export_onnx(loaded, path, precision)
    found = differences(loaded, SensingNetwork(loaded.network, OnnxDecider(path)), seed)
    if problem := objection(loaded, found, reduced=reduced):
        path.unlink()
        raise RuntimeError(f"ONNX Runtime {problem}: nothing kept; try other versions of torch or onnxruntime")
    departure = found.decided if reduced else found.largest
    typer.echo(f"{path}: version {version}, {path.stat().st_size / 1e6:.2f} MB, differs by at most {departure:.1e}")
    figures = {"difference": departure, "megabytes": path.stat().st_size / 1e6}
    if path == beside:
        _, trial = choose(loaded, registry / version, precision="reduced" if reduced else "full")
        listed = ", ".join(f"{name} {value:.2f} ms" for name, value in sorted(trial.median_ms.items()))
        typer.echo(f"a decision here: {listed}")
        figures |= {f"{name}_ms": value for name, value in trial.median_ms.items()}
    if json_file is not None:
        write_json(
            json_file,
            "export onnx",
            seed,
            figures,
            rows=[{"version": version, "file": str(path), "precision": precision}],
        )
