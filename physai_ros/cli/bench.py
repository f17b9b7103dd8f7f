"""`physai bench NAME`: side-by-side figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from physai_ros.cli.bench_alarm import alarm
from physai_ros.cli.bench_classification import classification
from physai_ros.cli.bench_evaluation import evaluation
from physai_ros.cli.bench_recording import recording
from physai_ros.cli.bench_replay import replay
from physai_ros.cli.bench_safety import safety
from physai_ros.cli.bench_training import training
from physai_ros.cli.bench_transfer import transfer
from physai_ros.cli.failure_study import failures
from physai_ros.cli.scenario_study import scenarios

bench = typer.Typer(no_args_is_help=True, help="Side-by-side figures, as a table and as JSON.")


@bench.callback()
def benches() -> None:
    """Benchmarks are programs: they compare in one run and assert no time."""


bench.command()(training)
bench.command()(scenarios)
bench.command()(replay)
bench.command()(safety)
bench.command()(alarm)
bench.command()(failures)
bench.command()(evaluation)
bench.command()(classification)
bench.command()(recording)
bench.command()(transfer)


@bench.command()
def latency(
    seconds: Annotated[float, typer.Option(min=1.0, help="Time to measure for [s].")] = 30.0,
    task: Annotated[str, typer.Option(help="Task by name.")] = "reach",
    namespace: Annotated[str, typer.Option(help="ROS namespace of the graph that is started.")] = "bench",
    seed: Annotated[int, typer.Option(min=0, help="Of policy and episodes.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Time from a measurement to the permitted command, through real processes over DDS, beside the bare network.

    The smoke form: one state policy at 100 Hz, paced. Figures of vision policies are null until there is one.
    """
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from physai_ros.cli.live_graph import live_graph
    from physai_ros.cli.results import write_json
    from physai_ros.policy.registry import PolicyRegistry

    console = Console()
    with live_graph(task, seed, namespace=namespace) as (graph, monitor):
        since, states, answered = time.monotonic(), monitor.states, monitor.answered
        monitor.observation_ages.clear()
        with console.status(f"measuring for {seconds:g} s"):
            # The time is the measurement: nothing is waited for.
            while time.monotonic() < since + seconds:
                graph.statuses()
                time.sleep(min(0.5, max(0.0, since + seconds - time.monotonic())))
        states, answered = monitor.states - states, monitor.answered - answered
        latencies = 1e3 * np.array([value for instant, value in monitor.latencies if instant >= since])
        ages = 1e3 * np.array(monitor.observation_ages)
        registry = PolicyRegistry(graph.run / "registry")
        policy = registry.load(registry.current()[0])
        bare = _bare_forward(policy)
    figures = {
        "state_p50_ms": _percentile(latencies, 50),
        "state_p99_ms": _percentile(latencies, 99),
        "vision_p50_ms": float("nan"),
        "vision_p99_ms": float("nan"),
        "observation_age_p99_ms": _percentile(ages, 99),
        # Between two episodes the policy does not act: that is not counted as missed by those who read the rows.
        "missed_share": 1.0 - answered / states if states else float("nan"),
        "bare_forward_ms": bare,
    }
    table = Table(title=f"latency, {task}, {states} measurements", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, "—" if value != value else f"{value:.4g}")
    console.print(table)
    if json_file is not None:
        rows = [{"case": "state policy, 100 Hz, paced", "task": task, "measurements": states, "answered": answered}]
        write_json(json_file, "bench latency", seed, figures, rows=rows)


def _percentile(values: object, share: float) -> float:
    import numpy as np

    return float(np.percentile(values, share)) if len(values) else float("nan")


def _bare_forward(policy: object) -> float:
    """Median time of one forward pass alone [ms]."""
    import numpy as np

    observation = np.zeros(policy.manifest.architecture.observation_size, dtype=np.float32)
    times = []
    for _ in range(500):
        began = time.perf_counter()
        policy.predict(observation)
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times))
