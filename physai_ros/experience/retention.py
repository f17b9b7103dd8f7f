"""Room for new episodes, made of what neither training nor a person needs any more.

Never removed: demonstrations, episodes that an operator intervened in, episodes that a person labelled or marked, the
newest training episodes, and what is being written. Removed first, the oldest of each before the next kind:

1. what is left of a crash after its episode was made readable (`recovered/`),
2. evaluations, which training never sees,
3. training episodes of the policy alone that are older than the newest `keep_training`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from physai_ros.experience.episode import Purpose
from physai_ros.experience.store import EpisodeStore, StoreError
from physai_ros.experience.summary import EpisodeSummary

KEEP_TRAINING = 2000  # episodes; more than a trainer holds in its replay


@dataclass(frozen=True)
class PruneReport:
    """What was `removed` (file names, oldest first) and `freed` [bytes]; `size` of the store afterwards [bytes]."""

    removed: tuple[str, ...]
    freed: int
    size: int


def store_size(store: EpisodeStore) -> int:
    """Size of everything in a store [bytes]."""
    return sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())


def prune(store: EpisodeStore, quota: int, *, keep_training: int = KEEP_TRAINING, dry_run: bool = False) -> PruneReport:
    """Remove what nobody needs until the store is no larger than `quota` [bytes], or nothing more may go.

    With `dry_run` it is only said what would go.

    Raises:
        StoreError: the folder cannot be written to.
    """
    size = store_size(store)
    removed: list[str] = []
    freed = 0
    for path in removable(store, keep_training) if size > quota else ():
        if size - freed <= quota:
            break
        try:
            length = path.stat().st_size
            if not dry_run:
                path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"cannot remove {path}: {error.strerror}; make {store.folder} writable") from error
        removed.append(path.name)
        freed += length
    return PruneReport(tuple(removed), freed, size - freed)


def removable(store: EpisodeStore, keep_training: int = KEEP_TRAINING) -> list[Path]:
    """Files that may go, in the order in which they go."""
    kept = store.folder / "recovered"
    left = sorted(kept.iterdir()) if kept.is_dir() else []
    readable = set(store.ids())
    # Where nothing could be read of it, what was left behind is all there is.
    files = [path for path in left if path.name.split(".mcap")[0] in readable]
    # Ids sort by age, whatever the clock did meanwhile.
    summaries = list(store.summaries().items())
    free = [(name, summary) for name, summary in summaries if not _is_needed(store, name, summary)]
    files += [store.path(name) for name, summary in free if summary.context.purpose == Purpose.EVALUATE]
    trained = [name for name, summary in summaries if summary.context.purpose == Purpose.TRAIN]
    newest = set(trained[-keep_training:])
    files += [
        store.path(name) for name, summary in free if summary.context.purpose == Purpose.TRAIN and name not in newest
    ]
    return files


def _is_needed(store: EpisodeStore, episode_id: str, summary: EpisodeSummary) -> bool:
    try:
        said = store.annotations.of(episode_id)
    except ValueError:
        return True  # somebody said something of it, whatever it was
    helped = summary.metrics.get("interventions", 0.0) > 0
    judged = said.label is not None and said.label.by_person
    return summary.context.purpose == Purpose.DEMONSTRATE or helped or judged or bool(said.marked)
