"""Where the package's share files (models, configuration, launch) lie."""

from __future__ import annotations

import sys
from pathlib import Path


def share_path(*parts: str) -> Path:
    """Path of a share file such as `share_path("config", "robots")`, from the source tree or the installed package.

    Raises:
        FileNotFoundError: neither holds the package's share files.
    """
    source = Path(__file__).resolve().parents[2]
    candidates = [source, *(parent / "share" / "physai_ros" for parent in Path(__file__).resolve().parents)]
    candidates.append(Path(sys.prefix) / "share" / "physai_ros")
    for root in candidates:
        if (root / "config" / "robots").is_dir() and (root / "models").is_dir():
            return root.joinpath(*parts)
    raise FileNotFoundError(f"the share files of physai_ros lie at none of {', '.join(map(str, candidates))}")
