"""Which version of a registry is active: the file `CURRENT`, readable without loading the network's library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

CURRENT = "CURRENT"


class PolicyFileError(ValueError):
    """A version cannot be used; the message says which file, why, and what to do."""


@dataclass(frozen=True)
class Activation:
    """Which version is active and since which change; `version` is empty before the first activation.

    `previous` is the version that was active before this one; `speed` in 0 ... 1 scales what it asks of the arm while
    it is tried out.
    """

    version: str = ""
    generation: int = 0
    previous: str = ""
    verdict: str = ""
    reason: str = ""
    speed: float = 1.0


def read_activation(folder: Path) -> Activation:
    """The active version with its generation and reason, as `CURRENT` in a registry's folder says.

    Raises:
        PolicyFileError: `CURRENT` cannot be read.
    """
    path = folder / CURRENT
    try:
        return Activation(**json.loads(path.read_text()))
    except FileNotFoundError:
        return Activation()
    except (ValueError, TypeError, OSError) as error:
        raise PolicyFileError(f"{path} cannot be read ({error}); activate a version again") from error
