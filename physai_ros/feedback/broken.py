"""What is broken, named from the figures of the last episodes beside those of the ones before.

| name | what is seen in the last episodes |
|---|---|
| camera_dark, camera_bright | pictures a third as bright as before, or three times; or black, or white |
| camera_blurred | pictures a fifth as sharp as before |
| camera_stands | pictures that stay the same while the arm moves |
| camera_silent | no picture for a second of motion |
| joints_swapped | two joints that follow each other's commands, not their own |
| success_detector | the task's own test or a person says otherwise; or successes without a grasp where others had one |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from physai_ros.experience.annotations import DETECTED
from physai_ros.experience.episode import Purpose
from physai_ros.feedback.collector import EpisodeFeedbackRecord

PERIOD = 5  # episodes, as lie between two candidates of the trainer
LEAST = 3  # episodes that must say the same
DARKER, BRIGHTER, BLURRED = 0.33, 3.0, 0.2  # of what was usual
BLACK, WHITE = 2.0, 253.0  # of 255
STANDING_SHARE = 0.8
BLIND_TIME = 1.0  # [s]
SWAPPED_GAIN = 0.5
CONTRADICTED = 0.6


class Finding(NamedTuple):
    """One broken thing: its `name`, the `evidence` in words and numbers, and what to try."""

    name: str
    evidence: str
    advice: str


def find_broken(records: Sequence[EpisodeFeedbackRecord]) -> list[Finding]:
    """What is broken in the last `PERIOD` episodes; `records` in the order of the episodes, of all purposes."""
    recent, before = records[-PERIOD:], records[:-PERIOD]
    if len(recent) < LEAST:
        return []
    return [*_cameras(recent, before), *_joints(recent), *_detector(recent, before)]


def _values(records: Sequence[EpisodeFeedbackRecord], name: str) -> np.ndarray:
    found = [record.metrics[name] for record in records if name in record.metrics]
    return np.array([value for value in found if np.isfinite(value)], dtype=float)


def _cameras(recent: Sequence[EpisodeFeedbackRecord], before: Sequence[EpisodeFeedbackRecord]) -> list[Finding]:
    names = sorted({key.split("/", 1)[1] for record in recent for key in record.metrics if key.startswith("bright")})
    findings = []
    for camera in names:
        light, usual_light = _median(recent, f"brightness/{camera}"), _median(before, f"brightness/{camera}")
        sharp, usual_sharp = _median(recent, f"sharpness/{camera}"), _median(before, f"sharpness/{camera}")
        standing, blind = _median(recent, f"standing/{camera}"), _median(recent, f"blind/{camera}")
        usual = f", {usual_light:.0f} in the episodes before" if np.isfinite(usual_light) else ""
        if light < BLACK or light < DARKER * usual_light:
            text = f"camera '{camera}' is dark: brightness {light:.1f} of 255{usual}"
            findings.append(Finding("camera_dark", text, "see lens, light, exposure, and that pictures are not scaled"))
        elif light > WHITE or light > BRIGHTER * usual_light:
            text = f"camera '{camera}' is bright: brightness {light:.1f} of 255{usual}"
            findings.append(Finding("camera_bright", text, "see exposure and light, and that pictures are not scaled"))
        elif sharp < BLURRED * usual_sharp:
            text = f"camera '{camera}' is blurred: sharpness {sharp:.0f}, {usual_sharp:.0f} in the episodes before"
            findings.append(Finding("camera_blurred", text, "clean the lens and set its focus"))
        # Black and white pictures are all the same: what is wrong with them is said already.
        if standing > STANDING_SHARE and BLACK <= light <= WHITE:
            text = f"camera '{camera}' stands: {standing:.0%} of its pictures in motion are as the one before"
            findings.append(Finding("camera_stands", text, "restart the camera's driver; see its cable"))
        if blind > BLIND_TIME:
            text = f"camera '{camera}' is silent: {blind:.1f} s of motion without a picture"
            findings.append(Finding("camera_silent", text, "restart the camera's driver; see its cable and rate"))
    return findings


def _median(records: Sequence[EpisodeFeedbackRecord], name: str) -> float:
    values = _values(records, name)
    return float(np.median(values)) if len(values) >= LEAST else float("nan")


def _joints(recent: Sequence[EpisodeFeedbackRecord]) -> list[Finding]:
    seen: dict[tuple[int, int], list[float]] = {}
    for record in recent:
        if record.metrics.get("swapped", 0.0) > SWAPPED_GAIN:
            pair = int(record.metrics["swapped_first"]), int(record.metrics["swapped_second"])
            seen.setdefault(pair, []).append(record.metrics["swapped"])
    for (first, second), gains in seen.items():
        if len(gains) >= LEAST:
            text = (
                f"joints {first + 1} and {second + 1} are swapped: they follow each other's commands "
                f"{np.median(gains):.0%} better than their own, in {len(gains)} of {len(recent)} episodes"
            )
            return [Finding("joints_swapped", text, "compare the driver's joint names with the robot's configuration")]
    return []


def _detector(recent: Sequence[EpisodeFeedbackRecord], before: Sequence[EpisodeFeedbackRecord]) -> list[Finding]:
    advice = "look at a few episodes with `physai label --frames`, then correct the success test"
    sources: tuple[tuple[str, str, Callable[[EpisodeFeedbackRecord], bool]], ...] = (
        ("rejudged", "the task's own test on what was recorded", lambda record: record.success),
        (DETECTED, "a person", lambda record: record.success),
    )
    for name, who, verdict in sources:
        judged = [record for record in recent if name in record.metrics]
        wrong = [record for record in judged if bool(record.metrics[name]) != verdict(record)]
        if len(wrong) >= LEAST and len(wrong) >= CONTRADICTED * len(judged):
            false = sum(bool(record.metrics[name]) if name == DETECTED else record.success for record in wrong)
            text = (
                f"the success detector is wrong in {len(wrong)} of {len(judged)} episodes that {who} judged: {false} "
                f"false successes, {len(wrong) - false} false failures"
            )
            return [Finding("success_detector", text, advice)]
    won = [record for record in recent if record.success and "grasps" in record.metrics]
    usual = [r for r in before if r.success and r.purpose == Purpose.DEMONSTRATE and "grasps" in r.metrics]
    if len(usual) >= LEAST and np.mean([r.metrics["grasps"] > 0 for r in usual]) > 0.9:
        empty = [record for record in won if record.metrics["grasps"] == 0]
        if len(empty) >= LEAST and len(empty) >= CONTRADICTED * len(won):
            text = f"{len(empty)} of {len(won)} successes came without a grasp, which demonstrations never did"
            return [Finding("success_detector", text, advice)]
    return []
