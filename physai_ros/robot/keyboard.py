"""A keyboard in place of a gamepad: keys as the axes and buttons that `JoyMapping` expects by default."""

from __future__ import annotations

HELD = 0.6  # [s] that a key counts as held; longer than a terminal waits before it repeats one
_AXES, _BUTTONS = 6, 5
_ENABLE, _CLOSE, _OPEN = 4, 0, 1
KEYS: dict[str, tuple[int, float]] = {
    "w": (1, 1.0),
    "s": (1, -1.0),
    "a": (0, 1.0),
    "d": (0, -1.0),
    "r": (4, 1.0),
    "f": (4, -1.0),
    "q": (3, 1.0),
    "e": (3, -1.0),
}
"""Key to axis, counted from 0, and deflection: away and back, left and right, up and down, turn."""

HELP = "w s: away, back   a d: left, right   r f: up, down   q e: turn   c o: close, open   space: hold   Esc: end"


class KeyboardJoy:
    """Axes and buttons of what was pressed; the switch is held for as long as keys come."""

    def __init__(self, deflection: float = 0.5) -> None:
        self._deflection = deflection
        self._pressed: dict[str, float] = {}

    def press(self, key: str, now: float) -> bool:
        """Take a key at `now` [s]; returns whether it means anything."""
        if key not in KEYS and key not in ("c", "o", " "):
            return False
        if key in KEYS:
            # A key takes the place of its opposite at once.
            axis = KEYS[key][0]
            self._pressed = {other: when for other, when in self._pressed.items() if KEYS.get(other, (-1,))[0] != axis}
        if key == " ":
            self._pressed.clear()
        self._pressed[key] = now
        return True

    def state(self, now: float) -> tuple[list[float], list[int]]:
        """Axes and buttons at `now` [s]."""
        self._pressed = {key: when for key, when in self._pressed.items() if now - when <= HELD}
        axes, buttons = [0.0] * _AXES, [0] * _BUTTONS
        for key in self._pressed:
            if key in KEYS:
                axis, way = KEYS[key]
                axes[axis] = way * self._deflection
        buttons[_ENABLE] = int(bool(self._pressed))
        buttons[_CLOSE], buttons[_OPEN] = int("c" in self._pressed), int("o" in self._pressed)
        return axes, buttons
