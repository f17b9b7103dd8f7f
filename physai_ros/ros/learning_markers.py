"""What training makes of the episodes, as markers for RViz, in the base frame."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from physai_ros import msg
from physai_ros.experience.episode import Episode
from physai_ros.ros.stamps import set_time
from physai_ros.training.dataset import Transitions
from physai_ros.training.weighting import step_weights

EPISODES = 20
"""Newest episodes that are shown."""
_LIFETIME = 3  # [s]
_DROPPED, _ORDINARY, _SELECTED, _FAILED = (
    (0.5, 0.5, 0.5, 0.4),
    (0.2, 0.5, 1.0, 0.7),
    (1.0, 0.5, 0.0, 1.0),
    (1, 0.1, 0.1, 0.9),
)
_MORE = 1.1  # weight from which a step counts as selected


class _Shown(NamedTuple):
    positions: np.ndarray  # (n, 3) of the tool at the steps [m]
    weights: np.ndarray  # (n,)
    failure: str
    end: np.ndarray  # (3,)


class LearningMarkers:
    """Draws the policy steps of the newest episodes by what they weigh in training, failures, and the trainer's state.

    Grey points are left out (duplicates), blue ones ordinary, orange ones weigh more: failures, contacts, corrections
    and what led to them.
    """

    def __init__(self, base_frame: str) -> None:
        self._frame = base_frame
        self._shown: deque[_Shown] = deque(maxlen=EPISODES)

    def add(self, episode: Episode, transitions: Transitions) -> None:
        """Take in an episode and the policy steps that were made of it."""
        tool, stamps = episode.series["ee_position"], episode.series["stamp"]
        instants = np.searchsorted(stamps, stamps[-1] - transitions.time_to_end - 1e-6)
        positions = tool[np.minimum(instants, len(stamps) - 1)]
        failure = "" if episode.outcome.success else episode.outcome.failure_mode
        self._shown.append(_Shown(positions, step_weights(transitions), failure, tool[-1]))

    def array(self, status: msg.TrainingStatus, stamp: float) -> MarkerArray:
        """All markers at `stamp` [s]."""
        points = self._marker("steps", Marker.POINTS, 0)
        points.scale.x = points.scale.y = 0.006
        for shown in self._shown:
            points.points += [_point(position) for position in shown.positions]
            points.colors += [_colour(_shade(weight)) for weight in shown.weights]
        markers = [points] if points.points else []
        for index, shown in enumerate(each for each in self._shown if each.failure):
            ball = self._marker("failures", Marker.SPHERE, index)
            ball.pose.position = _point(shown.end)
            ball.scale.x = ball.scale.y = ball.scale.z = 0.02
            ball.color = _colour(_FAILED)
            text = self._text("failure_modes", index, shown.end + [0.0, 0.0, 0.03], 0.025)
            text.text = shown.failure.replace("_", " ")
            markers += [ball, text]
        words = self._text("training", 0, np.array([0.0, 0.0, 1.3]), 0.04)
        words.text = (
            f"{status.state}: {status.episodes} episodes, {status.updates} updates, "
            f"{100 * status.activation_rate:.0f} % of samples, {status.health.replace('_', ' ')}"
        )
        markers.append(words)
        for marker in markers:
            set_time(marker.header.stamp, stamp)
        return MarkerArray(markers=markers)

    def _text(self, name: str, number: int, place: np.ndarray, height: float) -> Marker:
        made = self._marker(name, Marker.TEXT_VIEW_FACING, number)
        made.pose.position = _point(place)
        made.scale.z = height
        made.color = _colour((1.0, 1.0, 1.0, 0.9))
        return made

    def _marker(self, name: str, kind: int, number: int) -> Marker:
        made = Marker(ns=f"learning/{name}", id=number, type=kind, action=Marker.ADD)
        made.header.frame_id = self._frame
        made.pose.orientation.w = 1.0
        made.color.a = 1.0
        made.lifetime.sec = _LIFETIME
        return made


def _shade(weight: float) -> tuple[float, float, float, float]:
    if weight <= 0.0:
        return _DROPPED
    return _SELECTED if weight > _MORE else _ORDINARY


def _point(position: np.ndarray) -> Point:
    return Point(x=float(position[0]), y=float(position[1]), z=float(position[2]))


def _colour(rgba: tuple[float, float, float, float]) -> ColorRGBA:
    return ColorRGBA(r=float(rgba[0]), g=float(rgba[1]), b=float(rgba[2]), a=float(rgba[3]))
