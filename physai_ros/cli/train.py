"""`physai train`: offline training from a folder of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.tasks.task import Task
    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.trainer import SparseTrainer

CHECKPOINT = "trainer.safetensors"
_SAVE_EVERY = 30.0  # [s]


def train(
    data: Annotated[Path, typer.Option(help="Folder of episodes, as `physai collect` writes it.")],
    out: Annotated[Path, typer.Option(help="Registry that gets the new version, and the state to resume from.")],
    sampler: Annotated[str, typer.Option(help="ast, uniform, random, prioritized or infobatch.")] = "ast",
    objective: Annotated[str, typer.Option(help="bc: imitate demonstrations and corrections.")] = "bc",
    steps: Annotated[int | None, typer.Option(help="Updates in total, those before a resume included.", min=1)] = None,
    budget_seconds: Annotated[float | None, typer.Option(help="CPU time to train for [s].", min=0.1)] = None,
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    seed: Annotated[int, typer.Option(help="Seed of weights and sampling.", min=0)] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Train a policy from recorded episodes; run again, it goes on where it was."""
    from physai_ros.experience.store import EpisodeStore
    from physai_ros.policy.registry import PolicyRegistry
    from physai_ros.robot.spec import RobotSpec
    from physai_ros.training.checkpoint import save_checkpoint
    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.publishing import publish_policy

    if objective != "bc":
        raise ValueError(f"objective '{objective}' is not to be had in this version; use --objective bc")
    if steps is not None and budget_seconds is not None:
        raise ValueError("give either --steps or --budget-seconds, not both")
    config = TrainerConfig(sampler=sampler, seed=seed)
    if not data.is_dir():
        raise ValueError(f"there is no folder {data}; record demonstrations with `physai collect --out {data}`")
    trainer, task = _prepare(EpisodeStore(data, create=False), RobotSpec.load(robot), config, out / CHECKPOINT)
    _run(trainer, steps, budget_seconds, out / CHECKPOINT)
    save_checkpoint(trainer, out / CHECKPOINT)
    manifest = publish_policy(trainer, task, PolicyRegistry(out))
    counters = trainer.counters
    typer.echo(
        f"version {manifest.version}: {counters.updates} updates, loss {trainer.loss:.4f}, "
        f"activation {counters.activation_rate:.1%}, {counters.cpu_seconds:.1f} s of CPU"
    )
    if trainer.config.compares:
        typer.echo(trainer.control.reason)
    if json is not None:
        from physai_ros.cli.results import write_json

        figures = {
            "steps": counters.updates,
            "samples_forward": counters.forward,
            "samples_backward": counters.backward,
            "samples_offered": counters.offered,
            "activation_rate": counters.activation_rate,
            "cpu_seconds": counters.cpu_seconds,
            "selection_share": counters.selection_seconds / counters.cpu_seconds if counters.cpu_seconds else 0.0,
            "loss": trainer.loss,
        }
        write_json(json, "train", seed, figures, rows=[{"version": manifest.version, "sha256": manifest.sha256}])


def _prepare(
    store: EpisodeStore, spec: RobotSpec, config: TrainerConfig, checkpoint: Path
) -> tuple[SparseTrainer, Task]:
    """The trainer with every usable episode of the store, resumed where there is a checkpoint, and the task."""
    from rich.progress import track

    from physai_ros.experience.episode import Purpose
    from physai_ros.experience.store import StoreError
    from physai_ros.robot.kinematics import Kinematics
    from physai_ros.tasks.catalog import load_task
    from physai_ros.training.checkpoint import load_checkpoint
    from physai_ros.training.dataset import EpisodeUnusable, TransitionBuilder
    from physai_ros.training.trainer import SparseTrainer

    summaries = {k: s for k, s in store.summaries().items() if s.context.purpose != Purpose.EVALUATE}
    names = sorted({summary.context.task for summary in summaries.values()})
    if not names:
        raise ValueError(
            f"{store.folder} holds no demonstration to learn from; record some with "
            f"`physai collect --out {store.folder}`"
        )
    if len(names) > 1:
        raise ValueError(f"{store.folder} holds episodes of the tasks {', '.join(names)}; keep one task in a folder")
    task = load_task(names[0])
    builder = TransitionBuilder(Kinematics(spec), task, chunk_steps=config.chunk_steps)
    trainer = load_checkpoint(checkpoint) if checkpoint.exists() else None
    if trainer is not None and trainer.config != config:
        raise ValueError(
            f"{checkpoint} was begun with sampler '{trainer.config.sampler}' and seed {trainer.config.seed}, given "
            f"were '{config.sampler}' and {config.seed}; give the same, or another --out"
        )
    left_out = []
    unseen = [key for key in summaries if trainer is None or key not in trainer.episode_ids]
    for episode_id in track(unseen, "Reading episodes", transient=True):
        try:
            transitions = builder.build(store.read(episode_id))
        except (EpisodeUnusable, StoreError) as error:
            left_out.append(str(error))
            continue
        left_out += transitions.quarantined
        if trainer is None:
            trainer = SparseTrainer(transitions.observations.shape[1], transitions.actions.shape[2], config)
        trainer.add(transitions, episode_id)
    for reason in left_out:
        typer.echo(f"left out: {reason}", err=True)
    if trainer is None or not trainer.ready:
        raise ValueError(
            f"none of the {len(summaries)} episodes in {store.folder} can be imitated: a successful demonstration or "
            "an operator's correction is needed"
        )
    return trainer, task


def _run(trainer: SparseTrainer, steps: int | None, budget_seconds: float | None, checkpoint: Path) -> None:
    """Train up to a number of updates, or for a time; the learning rate falls over whichever it is."""
    import time

    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from physai_ros.training.checkpoint import save_checkpoint

    torch.set_num_threads(1)
    total = steps if steps is not None else trainer.config.warm_start_updates
    begun, saved = trainer.counters.cpu_seconds, time.monotonic()

    def share() -> float:
        if budget_seconds is not None:
            return (trainer.counters.cpu_seconds - begun) / budget_seconds
        return trainer.counters.updates / total

    columns = (TextColumn("Training"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task("", total=1.0, state="")
        while share() < 1.0:
            trainer.update(trainer.warm_start_rate(round(1000 * share()), 1000))
            if trainer.counters.updates % 20 == 0:
                state = f"loss {trainer.loss:.4f}, activation {trainer.counters.activation_rate:.1%}"
                progress.update(bar, completed=share(), state=state)
            if time.monotonic() - saved > _SAVE_EVERY:
                save_checkpoint(trainer, checkpoint)
                saved = time.monotonic()
