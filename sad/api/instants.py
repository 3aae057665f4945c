"""Instants and spans as they stand on the wire."""


def microseconds(seconds: float) -> int:
    """Return an instant or span in whole microseconds."""
    return round(seconds * 1_000_000)
