"""Settings that are out of range are refused by name."""

from __future__ import annotations


def at_least(least: int, **settings: float | None) -> None:
    """Refuse settings below ``least``; None is not a setting."""
    for name, value in settings.items():
        if value is not None and value < least:
            raise ValueError(f"expected {name} of at least {least}, found {value}")
