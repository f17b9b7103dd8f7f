"""The live table of the demonstration: what the graph says of itself, at a glance."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.table import Table

from physai_ros.evaluation.statistics import wilson
from physai_ros.experience.episode import Phase, Purpose
from physai_ros.safety.state_machine import SafetyState

if TYPE_CHECKING:
    from physai_ros.ros.graph_monitor import GraphMonitor

WINDOW = 20
"""Episodes over which success is shown."""
_BAR = " ▁▂▃▄▅▆▇█"


def live_table(monitor: GraphMonitor, episodes: int, began: float) -> Table:
    """The table as it stands; `began` is the monotonic instant of the first episode [s]."""
    feedback = [f for f in monitor.feedback if f.purpose == Purpose.TRAIN]
    own = [f.success and not f.interventions for f in feedback]
    table = Table(title="on-robot learning", show_header=False, min_width=72, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("episodes", f"{len(feedback)} of {episodes}   {time.monotonic() - began:.0f} s   {_phase(monitor)}")
    table.add_row(f"own success, last {WINDOW}", _success(own[-WINDOW:]))
    table.add_row("over episodes", _sparkline(own))
    helped = sum(f.interventions for f in feedback)
    seconds = sum(f.intervention_seconds for f in feedback)
    table.add_row("interventions", f"{helped}, {seconds:.0f} s under the operator")
    table.add_row("safety", _safety(monitor))
    table.add_row("policy", _policy(monitor))
    table.add_row("trainer", _trainer(monitor))
    table.add_row("health", _health(monitor))
    median, tail = monitor.latency_percentiles()
    table.add_row("state to command", f"{1e3 * median:.1f} ms median, {1e3 * tail:.1f} ms p99" if median > 0 else "—")
    return table


def progress_line(monitor: GraphMonitor, episodes: int) -> str:
    """The same in one line, for where there is no screen."""
    feedback = [f for f in monitor.feedback if f.purpose == Purpose.TRAIN]
    own = [f.success and not f.interventions for f in feedback]
    helped = sum(f.interventions for f in feedback)
    rate = monitor.training.activation_rate if monitor.training else float("nan")
    return (
        f"episode {len(feedback)} of {episodes}: own success, last {WINDOW}: {_success(own[-WINDOW:])}; "
        f"interventions {helped}; activation {rate:.1%}; {_policy(monitor)}; {_health(monitor)}"
    )


def _phase(monitor: GraphMonitor) -> str:
    episode = monitor.episode
    if episode is None or episode.phase == Phase.IDLE:
        return "waiting"
    return "running" if episode.phase == Phase.RUNNING else "between episodes"


def _success(own: list[bool]) -> str:
    if not own:
        return "—"
    lower, upper = wilson(sum(own), len(own))
    return f"{sum(own) / len(own):.0%}  (95 %: {lower:.0%} to {upper:.0%})"


def _sparkline(own: list[bool], width: int = 40) -> str:
    if not own:
        return "—"
    size = max(1, -(-len(own) // width))
    shares = [sum(own[i : i + size]) / len(own[i : i + size]) for i in range(0, len(own), size)]
    return "".join(_BAR[round(share * (len(_BAR) - 1))] for share in shares)


def _safety(monitor: GraphMonitor) -> str:
    status = monitor.safety
    if status is None or time.monotonic() - monitor.safety_received > 0.3:
        return "unknown: no heartbeat"
    reasons = f" ({', '.join(status.reasons)})" if status.reasons else ""
    return f"{SafetyState(status.state).name}{reasons}; {status.stops} stops"


def _policy(monitor: GraphMonitor) -> str:
    promotions = sum(update.verdict in ("better", "not_worse") for update in monitor.updates)
    rollbacks = sum(update.verdict == "rollback" for update in monitor.updates)
    version = monitor.updates[-1].version if monitor.updates else "—"
    return f"version {version}, {promotions} promotions, {rollbacks} rollbacks"


def _trainer(monitor: GraphMonitor) -> str:
    status = monitor.training
    if status is None:
        return "—"
    return (
        f"{status.state}, {status.updates} updates, activation {status.activation_rate:.1%}, loss {status.loss:.4f}, "
        f"{status.cpu_share:.0%} of a core"
    )


def _health(monitor: GraphMonitor) -> str:
    status = monitor.training
    if status is None or not status.health:
        return "—"
    return f"{status.health.replace('_', ' ')}: {status.detail}" if status.detail else status.health.replace("_", " ")
