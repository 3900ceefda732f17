"""``--until``: a time of day, a date with a time, or a duration from now, as seconds since 1970."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from harness.errors import ConfigurationError

DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?")
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def moment(text: str, now: datetime | None = None) -> float:
    """Read when a run is to leave.

    Args:
        text: ``3h50m``, ``90m``, ``45s``; ``18:30``, the next such time; or ``2026-11-29T06:00``; of this machine's
            time zone unless it names one.
        now: When it is read; by default now.

    Raises:
        ConfigurationError: If it is none of these, or over.
    """
    now = (now or datetime.now()).astimezone()
    duration, clock = DURATION.fullmatch(text), CLOCK.fullmatch(text)
    if text and duration:
        hours, minutes, seconds = (int(part or 0) for part in duration.groups())
        found = now + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    elif clock:
        found = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        found += timedelta(days=1 if found <= now else 0)
    else:
        try:
            found = datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError):
            raise ConfigurationError(
                f'found --until "{text[:40]}"; expected a duration (3h50m), a time of day (18:30) or a date with a '
                "time (2026-11-29T06:00)."
            ) from None
    if found <= now:
        raise ConfigurationError(f'found --until "{text[:40]}", which is over; expected a time to come.')
    return found.timestamp()
