"""Moments as the protocol writes them, and as the server counts them; each there and back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache

#: How many minutes there are from 1970 to the end of the year 9999; and the last moment of that.
_MINUTES = 4_223_371_680
LAST = _MINUTES * 60_000 - 1


@lru_cache(maxsize=1024)
def rfc3339(milliseconds: int) -> str:
    """Milliseconds since 1970-01-01 UTC, as a L{chat.messages.Time}.

    @raise ValueError: before 1970 or after the year 9999.
    """
    minute, rest = divmod(milliseconds, 60_000)
    return f"{_minute(minute)}{rest // 1000:02d}.{rest % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _minute(minute: int) -> str:
    """What the times of this minute, counted from 1970-01-01 UTC, begin with."""
    if not 0 <= minute < _MINUTES:
        raise ValueError(f"no moment between 1970 and 9999: minute {minute}")
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(minutes=minute)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M}:"


def milliseconds(time: str) -> int:
    """The inverse of L{rfc3339}.

    @raise ValueError: not a L{chat.messages.Time}.
    """
    try:
        rest = _SECOND[time[17:19]] + _THOUSANDTH[time[19:]]
    except KeyError:
        raise ValueError(f"not an RFC 3339 time in UTC with milliseconds: {time!r}") from None
    return _minute_of(time[:17]) + rest


@lru_cache(maxsize=1024)
def _minute_of(beginning: str) -> int:
    """The milliseconds from 1970-01-01 UTC to the minute that a time begins with."""
    moment = datetime.fromisoformat(beginning + "00+00:00")
    if rfc3339(minute := int(moment.timestamp()) * 1000)[:17] != beginning:
        raise ValueError(f"not the beginning of an RFC 3339 time: {beginning!r}")
    return minute


_SECOND = {f"{second:02}": second * 1000 for second in range(60)}
_THOUSANDTH = {f".{thousandth:03}Z": thousandth for thousandth in range(1000)}
