"""The API's moments (ISO 8601 in UTC) as people read them. Without datetime, which every start would pay for."""

from __future__ import annotations

import time

DAY_S = 86_400


def posix(moment: object) -> float | None:
    """POSIX seconds of ``2026-11-22T18:04:05.123Z``; None for null or anything else."""
    if not isinstance(moment, str) or len(moment) < 19:
        return None
    try:
        days = days_from_civil(int(moment[0:4]), int(moment[5:7]), int(moment[8:10]))
        clock = int(moment[11:13]) * 3600 + int(moment[14:16]) * 60
        return days * DAY_S + clock + float(moment[17:].removesuffix("Z").removesuffix("+00:00"))
    except ValueError:
        return None


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant, "Low-level date algorithms")."""
    year -= month <= 2
    era_year = year % 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    day_of_era = era_year * 365 + era_year // 4 - era_year // 100 + day_of_year
    return year // 400 * 146_097 + day_of_era - 719_468


UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY_S, "w": 7 * DAY_S}


def since(text: str, now: float) -> float | None:
    """POSIX seconds of ``10m`` ago, of ``2026-11-22T10:00:00Z``, or, where the reader is, of ``2026-11-22 10:00``."""
    if text[:-1].isascii() and text[:-1].isdigit() and text[-1:] in UNITS:
        return now - int(text[:-1]) * UNITS[text[-1]]
    if text.endswith(("Z", "+00:00")):
        return posix(text)
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"):
        try:
            return time.mktime(time.strptime(text.replace("T", " "), form))
        except (ValueError, OverflowError):
            continue
    return None


def local(moment: object) -> str:
    """``2026-11-22 19:04:05`` where the reader is; ``-`` for null."""
    seconds = posix(moment)
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def span(began: object, ended: object, now: float) -> str:
    """How long it took, or has taken up to ``now``; empty when it has not begun."""
    start = posix(began)
    if start is None:
        return ""
    end = posix(ended)
    return duration((now if end is None else end) - start)


def age(began: object, now: float) -> str:
    """As ``span`` of what goes on, in whole seconds, so that a picture changes at most once a second."""
    start = posix(began)
    if start is None:
        return ""
    seconds = max(0, int(now - start))
    return f"{seconds}s" if seconds < 60 else duration(seconds)


def duration(seconds: float) -> str:
    """``0.03s``, ``4.2s``, ``42s``, ``3m07s``, ``2h05m``, ``3d04h``."""
    seconds = max(0.0, seconds)
    if seconds < 0.995:
        return f"{seconds:.2f}s"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < DAY_S:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // DAY_S}d{whole % DAY_S // 3600:02d}h"
