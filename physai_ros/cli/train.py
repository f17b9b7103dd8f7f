"""`physai train`: offline training from a folder of episodes, in one process or in many."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physai_ros.cli.listed import listed

if TYPE_CHECKING:
    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.dataset import Transitions
    from physai_ros.training.distributed import Ranks
    from physai_ros.training.mapped_columns import ReplayFolder
    from physai_ros.training.offline import Budget
    from physai_ros.training.seeing import Eyes
    from physai_ros.training.trainer import SparseTrainer

CHECKPOINT = "trainer.safetensors"
SEEING = {"batch_size": 48, "outcome_batch": 8, "fine_learning_rate": 1e-4}
"""What is other in the recipe where there are pictures: a convolution costs a hundred times a perceptron, in updates
and in judging outcomes; the last learning rate is lower, since millimetres are to be read off pixels."""


def train(
    data: Annotated[Path, typer.Option(help="Folder of episodes, as `physai collect` writes it.")],
    out: Annotated[Path, typer.Option(help="Registry that gets the new version, and the state to resume from.")],
    sampler: Annotated[str, typer.Option(help="ast, uniform, random, prioritized or infobatch.")] = "ast",
    objective: Annotated[
        str,
        typer.Option(
            help="bc: imitate demonstrations and corrections; rl: own successes too; actor_critic: heed critics."
        ),
    ] = "bc",
    steps: Annotated[int | None, typer.Option(help="Updates in all, those before a resume included.", min=1)] = None,
    samples: Annotated[int | None, typer.Option(help="Samples with a gradient in all, likewise.", min=1)] = None,
    budget_seconds: Annotated[float | None, typer.Option(help="CPU time in all, likewise [s].", min=0.1)] = None,
    patience: Annotated[
        int, typer.Option(help="Stop after so many checks without a better loss on held-out episodes; 0: never.", min=0)
    ] = 0,
    check_every: Annotated[int, typer.Option(help="Updates between two such checks.", min=1)] = 100,
    hindsight: Annotated[
        str, typer.Option(help="Goals that failed episodes are relabelled with: off, final or future.")
    ] = "off",
    advantage: Annotated[
        float, typer.Option(help="Temperature of the weights of the policy's own steps; 0: leave them out.", min=0.0)
    ] = 0.0,
    weighting: Annotated[
        bool, typer.Option(help="Failures, contacts, interventions count more; idle tails, duplicates less.")
    ] = False,
    cameras: Annotated[str, typer.Option(help="See by these cameras, with commas, as `collect --cameras` kept.")] = "",
    image_size: Annotated[int, typer.Option(help="Height and width of what it sees [pixel].", min=8)] = 84,
    blind_to: Annotated[
        str, typer.Option(help="task: do not look at where objects are, other than by sight; the goal is told.")
    ] = "",
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for event files that TensorBoard opens.")] = None,
    save_seconds: Annotated[float, typer.Option(help="Time between two saved states [s].", min=0.0)] = 30.0,
    robot: Annotated[str, typer.Option(help="Robot configuration, by name or path.")] = "fr3_sim",
    seed: Annotated[int, typer.Option(help="Seed of weights and sampling.", min=0)] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Train a policy from recorded episodes; run again, it goes on where it was.

    In many processes, on one machine or more: torchrun --nproc-per-node N -m physai_ros.cli.main train ...
    """
    import torch

    from physai_ros.training.config import TrainerConfig
    from physai_ros.training.distributed import ranks
    from physai_ros.training.offline import Budget
    from physai_ros.training.seeing import Eyes

    if sum(budget is not None for budget in (steps, samples, budget_seconds)) > 1:
        raise ValueError("give one of --steps, --samples and --budget-seconds, not several")
    config = TrainerConfig.of_objective(
        objective,
        sampler=sampler,
        seed=seed,
        hindsight=hindsight,
        advantage=advantage,
        weighting=weighting,
        patience=patience,
        check_every=check_every,
    )
    eyes = Eyes(listed(cameras), image_size, listed(blind_to))
    if eyes.cameras:
        config = replace(config, **SEEING)
    if steps is None and samples is None and budget_seconds is None:
        steps = config.warm_start_updates
    budget = Budget(budget_seconds, steps, samples)
    if not data.is_dir():
        raise ValueError(f"there is no folder {data}; record demonstrations with `physai collect --out {data}`")
    torch.set_num_threads(1)
    group = ranks()
    try:
        if group.number == 0:
            _Run(data, out, robot, config, group, eyes).lead(budget, save_seconds, tensorboard, json)
        else:
            _Run(data, out, robot, config, group, eyes).follow(budget)
    finally:
        group.close()


class _Run:
    """One training from a store into a registry; process 0 leads, reads and writes files, others follow."""

    def __init__(self, data: Path, out: Path, robot: str, config: TrainerConfig, group: Ranks, eyes: Eyes) -> None:
        from physai_ros.experience.store import EpisodeStore
        from physai_ros.robot.kinematics import Kinematics
        from physai_ros.robot.spec import RobotSpec
        from physai_ros.tasks.catalog import load_task
        from physai_ros.training.dataset import TransitionBuilder

        self._store = EpisodeStore(data, create=False)
        self._out, self._config, self._group = out, config, group
        self._checkpoint = out / CHECKPOINT
        self._ids, name = self._episodes()
        self._task = load_task(name)
        self._senses = eyes.senses(self._task, self._store.read(self._ids[0]))
        self._builder = TransitionBuilder(
            Kinematics(RobotSpec.load(robot)),
            self._task,
            chunk_steps=config.chunk_steps,
            hindsight=config.hindsight,
            senses=self._senses,
        )

    def _episodes(self) -> tuple[list[str], str]:
        """The episodes to learn from, the same ones in every process, and their task."""
        from physai_ros.experience.episode import Purpose

        summaries = {k: s for k, s in self._store.summaries().items() if s.context.purpose != Purpose.EVALUATE}
        # While episodes are being recorded, every process would find others.
        listed = self._group.first_bytes("\n".join(summaries).encode()).decode()
        ids = [episode_id for episode_id in listed.split("\n") if episode_id]
        folder = self._store.folder
        if missing := [episode_id for episode_id in ids if episode_id not in summaries]:
            raise ValueError(
                f"{folder} lacks {len(missing)} episodes that process 0 has, '{missing[0]}' first: give every machine "
                "the same episodes"
            )
        names = sorted({summaries[episode_id].context.task for episode_id in ids})
        if not names:
            raise ValueError(
                f"{folder} holds no demonstration to learn from; record some with `physai collect --out {folder}`"
            )
        if len(names) > 1:
            raise ValueError(f"{folder} holds episodes of the tasks {', '.join(names)}; keep one task in a folder")
        return ids, names[0]

    def lead(self, budget: Budget, save_seconds: float, events: Path | None, json: Path | None) -> None:
        """Train, with a bar and event files, and publish what came of it."""
        from physai_ros.cli.train_log import EventLog, TrainingBar
        from physai_ros.policy.registry import PolicyRegistry
        from physai_ros.training.checkpoint import replay_folder
        from physai_ros.training.mapped_columns import ReplayFolder
        from physai_ros.training.offline import Progress, train_to_budget
        from physai_ros.training.publishing import publish_policy

        with ExitStack() as stack:
            replay = ReplayFolder(replay_folder(self._checkpoint))
            stack.callback(replay.close)
            content = self._checkpoint.read_bytes() if self._checkpoint.exists() else b""
            self._group.first_bytes(content)
            trainer = self._trainer(self._checkpoint if content else None, replay)
            log = None
            if events is not None:
                log = EventLog(events, trainer)
                stack.callback(log.close)
            bar = stack.enter_context(TrainingBar(trainer))

            def show(progress: Progress) -> None:
                bar.show(progress)
                if log is not None:
                    log.write(progress)

            stopped = _until_interrupted(stack) if self._group.count == 1 else lambda: False
            reason = train_to_budget(
                trainer, budget, self._checkpoint, save_seconds=save_seconds, on_progress=show, stopped=stopped
            )
            interrupted = stopped()
            manifest = None if interrupted else publish_policy(trainer, self._task, PolicyRegistry(self._out))
        typer.echo(reason)
        if manifest is None:
            raise typer.Exit(130)
        self._report(trainer, manifest.version)
        if json is not None:
            self._write_json(json, trainer, {"version": manifest.version, "sha256": manifest.sha256, "ended": reason})

    def follow(self, budget: Budget) -> None:
        """Train along with process 0, which keeps the files."""
        import tempfile

        from physai_ros.training.offline import train_to_budget

        content = self._group.first_bytes(b"")
        with tempfile.TemporaryDirectory(prefix="physai_train_") as folder:
            path = Path(folder) / CHECKPOINT
            path.write_bytes(content)
            trainer = self._trainer(path if content else None, None)
        train_to_budget(trainer, budget, None)

    def _trainer(self, checkpoint: Path | None, replay: ReplayFolder | None) -> SparseTrainer:
        """The trainer with every usable episode, resumed where there is a checkpoint."""
        import zlib

        from physai_ros.training.checkpoint import load_checkpoint

        trainer = None
        if checkpoint is not None:
            trainer = load_checkpoint(checkpoint, self._read, ranks=self._group, replay=replay)
            self._same_recipe(trainer.config)
            if trainer.architecture.senses != self._senses:
                raise ValueError(
                    f"{self._checkpoint} was begun with other cameras, image_size or blind_to; give the same, or "
                    "another --out"
                )
        trainer = self._add_episodes(trainer, replay)
        if trainer is None or not trainer.ready:
            raise ValueError(
                f"none of the {len(self._ids)} episodes in {self._store.folder} can be imitated: a successful "
                "demonstration or an operator's correction is needed"
            )
        if not self._group.alike(zlib.crc32(repr(trainer.signatures()).encode())):
            raise ValueError("the processes have not read the same samples: give every machine the same episodes")
        return trainer

    def _read(self, episode_id: str) -> Transitions:
        return self._builder.build(self._store.read(episode_id, pictures=self._senses is not None))

    def _same_recipe(self, config: TrainerConfig) -> None:
        begun, given = asdict(config), asdict(self._config)
        other = [f"{name} {begun[name]} (given is {given[name]})" for name in begun if begun[name] != given[name]]
        if other:
            raise ValueError(f"{self._checkpoint} was begun with {', '.join(other)}; give the same, or another --out")

    def _add_episodes(self, trainer: SparseTrainer | None, replay: ReplayFolder | None) -> SparseTrainer | None:
        from rich.console import Console
        from rich.progress import track

        from physai_ros.experience.store import StoreError
        from physai_ros.policy.network import Architecture
        from physai_ros.training.dataset import EpisodeUnusable
        from physai_ros.training.trainer import SparseTrainer

        left_out = []
        unseen = [key for key in self._ids if trainer is None or key not in trainer]
        quiet = self._group.number > 0
        for episode_id in track(
            unseen, "Reading episodes", transient=True, console=Console(stderr=True), disable=quiet
        ):
            try:
                transitions = self._read(episode_id)
            except (EpisodeUnusable, StoreError) as error:
                left_out.append(str(error))
                continue
            left_out += transitions.quarantined
            if trainer is None:
                sizes = transitions.observations.shape[1], transitions.actions.shape[2]
                config = self._config
                shape = Architecture(*sizes, config.chunk_steps, config.hidden_sizes, config.members, self._senses)
                trainer = SparseTrainer(*sizes, config, architecture=shape, ranks=self._group, replay=replay)
            try:
                trainer.add(transitions, episode_id)
            except ValueError as error:
                left_out.append(f"episode {episode_id}: {error}")
        for reason in left_out if not quiet else ():
            typer.echo(f"left out: {reason}", err=True)
        return trainer

    def _report(self, trainer: SparseTrainer, version: str) -> None:
        counters, early_stop = trainer.counters, trainer.early_stop
        typer.echo(
            f"version {version}: {counters.updates} updates, loss {trainer.loss:.4f}, "
            f"activation {counters.activation_rate:.1%}, {counters.cpu_seconds:.1f} s of CPU"
        )
        if trainer.config.compares:
            typer.echo(trainer.control.reason)
        if trainer.config.patience:
            typer.echo(
                f"published are the weights after update {early_stop.best_update}: loss {early_stop.best_loss:.4f} on "
                f"{len(trainer.validation)} steps of held-out episodes, which is no success rate: roll it out"
            )

    def _write_json(self, path: Path, trainer: SparseTrainer, row: dict[str, str]) -> None:
        from physai_ros.cli.results import write_json

        counters, early_stop = trainer.counters, trainer.early_stop
        figures = {
            "steps": counters.updates,
            "samples_forward": counters.forward,
            "samples_backward": counters.backward,
            "samples_offered": counters.offered,
            "activation_rate": counters.activation_rate,
            "cpu_seconds": counters.cpu_seconds,
            "selection_share": counters.selection_seconds / counters.cpu_seconds if counters.cpu_seconds else 0.0,
            "loss": trainer.loss,
            "processes": self._group.count,
        }
        if trainer.config.patience:
            figures |= {
                "held_out_samples": len(trainer.validation),
                "held_out_loss": early_stop.best_loss,
                "best_step": early_stop.best_update,
            }
        write_json(path, "train", trainer.config.seed, figures, rows=[row])


def _until_interrupted(stack: ExitStack) -> Callable[[], bool]:
    """Whether somebody asked this process to end; it then ends between two updates, and a second time at once."""
    asked = []

    def note(number: int, _frame: object) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        stack.callback(signal.signal, number, handler)
    return lambda: bool(asked)
