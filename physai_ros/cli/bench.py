"""`physai bench NAME`: side-by-side figures."""

from __future__ import annotations

import signal
import sys

import typer

from physai_ros.cli.bench_alarm import alarm
from physai_ros.cli.bench_classification import classification
from physai_ros.cli.bench_continuity import continuity
from physai_ros.cli.bench_detector import detector
from physai_ros.cli.bench_evaluation import evaluation
from physai_ros.cli.bench_fusion import fusion
from physai_ros.cli.bench_isolation import isolation
from physai_ros.cli.bench_latency import latency
from physai_ros.cli.bench_mastery import mastery
from physai_ros.cli.bench_peers import peers
from physai_ros.cli.bench_promotion import promotion
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
    # Told to end, a bench takes along what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


bench.command()(training)
bench.command()(scenarios)
bench.command()(replay)
bench.command()(safety)
bench.command()(alarm)
bench.command()(failures)
bench.command()(evaluation)
bench.command()(promotion)
bench.command()(classification)
bench.command()(detector)
bench.command()(recording)
bench.command()(transfer)
bench.command()(mastery)
bench.command()(peers)
bench.command()(latency)
bench.command()(isolation)
bench.command()(fusion)
bench.command()(continuity)
