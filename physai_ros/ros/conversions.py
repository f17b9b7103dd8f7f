"""Message to dataclass and back, one pair of functions: `to_message` and `from_message`.

Round trips are exact, but for instants, which messages hold to the nanosecond. Nothing else converts: names, shapes,
instants and quaternions have one form outside and one inside.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from physai_ros.ros import conversions_action, conversions_episode, conversions_state

_Function = TypeVar("_Function", bound=Callable[..., Any])

_TO = {**conversions_state.TO_MESSAGE, **conversions_action.TO_MESSAGE, **conversions_episode.TO_MESSAGE}
_FROM = {**conversions_state.FROM_MESSAGE, **conversions_action.FROM_MESSAGE, **conversions_episode.FROM_MESSAGE}

outcome_message = conversions_episode.outcome_message


def to_message(value: object) -> Any:  # noqa: ANN401 - the message type follows from the dataclass
    """The message of a dataclass of the rooms.

    Raises:
        TypeError: it has no message.
        ValueError: a stamp is not finite, or an array has not the length that its message fixes.
    """
    return _lookup(_TO, value)(value)


def from_message(message: object) -> Any:  # noqa: ANN401 - the dataclass follows from the message type
    """The dataclass of a message.

    Raises:
        TypeError: it has no dataclass.
        ValueError: the message contradicts itself, such as a matrix whose length does not fit its rows.
    """
    return _lookup(_FROM, message)(message)


def _lookup(table: dict[type, _Function], value: object) -> _Function:
    try:
        return table[type(value)]
    except KeyError:
        known = ", ".join(sorted(kind.__name__ for kind in table))
        raise TypeError(f"{type(value).__name__} cannot be converted; known are: {known}") from None
