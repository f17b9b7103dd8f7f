"""Options that take several names, with commas."""


def listed(text: str) -> tuple[str, ...]:
    """The names in a text, without what is empty."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
