"""The feedback on an episode: message to record.

Apart from the other conversions, which nodes of control read as well and which know nothing of recordings.
"""

from __future__ import annotations

from dataclasses import fields

from physai_ros import msg
from physai_ros.experience.episode import Purpose
from physai_ros.feedback.collector import EpisodeFeedbackRecord


def feedback_record(message: msg.EpisodeFeedback) -> EpisodeFeedbackRecord:
    """The record that a message announces."""
    known = [field.name for field in fields(EpisodeFeedbackRecord) if hasattr(message, field.name)]
    values = {name: getattr(message, name) for name in known}
    return EpisodeFeedbackRecord(**{**values, "purpose": Purpose(message.purpose)})
