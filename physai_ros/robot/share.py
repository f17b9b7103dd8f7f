"""Where the package's share files (`config/`, `launch/`, `models/`) lie."""

import os
import sys
from pathlib import Path

_PACKAGE = "physai_ros"


def share_path(*parts: str) -> Path:
    """Return the absolute path of a share file or folder, e.g. `share_path("config", "sim.yaml")`.

    A source tree wins over an installed prefix, so that what one edits is what one runs. Prefixes are those of
    `AMENT_PREFIX_PATH`, in its order, then the one this package was installed into, then the Python environment's own.

    Raises:
        FileNotFoundError: no place holds it; the message names each place that was looked at.
    """
    roots = _roots()
    for root in roots:
        path = root.joinpath(*parts)
        if path.exists():
            return path
    looked_at = ", ".join(str(root) for root in roots)
    raise FileNotFoundError(
        f"Share file {os.path.join(*parts)!r} of {_PACKAGE} is in none of: {looked_at}. "
        "Run `make setup` in a source tree, or source the set-up script of the workspace that holds the package."
    )


def _roots() -> list[Path]:
    """Return the folders that may hold share files, best first, without doubles."""
    package = Path(__file__).resolve().parents[1]
    if (package.parent / "package.xml").is_file():
        return [package.parent]
    prefixes = [Path(entry) for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    prefixes += [prefix for prefix in package.parents if (prefix / "share" / _PACKAGE).is_dir()]
    prefixes.append(Path(sys.prefix))
    roots = [prefix / "share" / _PACKAGE for prefix in prefixes]
    return list(dict.fromkeys(root for root in roots if root.is_dir()))
