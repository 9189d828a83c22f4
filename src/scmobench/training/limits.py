"""Settings that are out of range are refused by name."""

from __future__ import annotations


def at_least(least: int, **settings: float | None) -> None:
    """Refuse settings below ``least``; None is not a setting."""
    for name, value in settings.items():
        if value is not None and value < least:
            raise ValueError(f"expected {name} of at least {least}, found {value}")


def positive(**settings: float | None) -> None:
    """Refuse settings of 0 and below; None is not a setting."""
    for name, value in settings.items():
        if value is not None and not value > 0:
            raise ValueError(f"expected {name} above 0, found {value}")
