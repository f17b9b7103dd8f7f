"""The report in a real browser, without a network: what is on the screen is the pictures."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from physai_ros.evaluation.report import write_report
from physai_ros.evaluation.report_style import ALONE, FAILED, HELD_OUT, HELPED

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser here: Debian's chromium opens the report")


def example_run(folder: Path) -> None:
    """The made-up run of the other tests of the report."""
    path = Path(__file__).with_name("test_report.py")
    spec = importlib.util.spec_from_file_location("report_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.example_run(folder)


def share_of(picture: np.ndarray, colour: str) -> float:
    """Share of pixels that have a colour, within what the screen makes of it."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    return float((np.abs(picture[..., :3] - wanted).max(axis=2) < 0.03).mean())


def test_a_browser_shows_every_picture(tmp_path: Path) -> None:
    example_run(tmp_path / "run")
    page = write_report(tmp_path / "run", tmp_path / "out")
    shot = tmp_path / "page.png"
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--proxy-server=127.0.0.1:9",  # nobody listens there: what would come from a network does not come
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1200,5200",
        f"--screenshot={shot}",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120.0)
    assert shot.exists(), done.stderr
    picture = matplotlib.image.imread(shot)
    assert picture.shape[:2] == (5200, 1200)
    for colour, least in ((ALONE, 0.002), (HELD_OUT, 0.001), (FAILED, 0.0005), (HELPED, 0.0005)):
        assert share_of(picture, colour) > least, colour
    # Text and pictures over the whole length; the ground shows on both sides and nothing runs over the edge.
    inside = picture[:4200, 100:1100, :3]
    assert (inside.reshape(42, -1).std(axis=1) > 0.01).all()
    assert picture[:, :40, :3].std() < 0.02
    assert picture[:, -40:, :3].std() < 0.02
