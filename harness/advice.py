"""Commands that a sentence advises, with the profile of the command that says it.

Whoever asked for a profile, and copies what a sentence advises, means that profile again.
"""

from __future__ import annotations

from contextvars import ContextVar

# None if the command was given no --profile, so that the one in params.yaml holds for the next one as well.
_asked: ContextVar[str | None] = ContextVar("the profile that was asked for", default=None)


def ask_for(profile: str | None) -> None:
    """Remember which profile the command was given; None if none."""
    _asked.set(profile)


def command(words: str, *, quoted: bool = True) -> str:
    """Write a ``dira-bench`` command that takes ``--profile``, for a sentence.

    Args:
        words: What follows ``dira-bench``.
        quoted: Whether it stands in quotes.
    """
    profile = _asked.get()
    text = f"dira-bench {words}" + (f" --profile {profile}" if profile and "--profile" not in words else "")
    return f'"{text}"' if quoted else text
