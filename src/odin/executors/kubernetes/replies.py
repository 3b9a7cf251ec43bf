"""What the API server's refusals and silences mean. Only ``Missing`` ever says that something is not there.

Source: reliability.md, F-05, F-06 and F-26 to F-35.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class ApiFault(Exception):
    """Something other than the answer hoped for; ``message`` is the API server's, or says what went wrong."""

    message: str
    status: int = 0

    def __str__(self) -> str:
        return self.message


class Missing(ApiFault):
    """404: the object, or the whole resource, is not there."""


class Unserved(Missing):
    """404: the whole resource is not there. Says nothing of an object that was of it before."""


class Exists(ApiFault):
    """409: an object of that name is there already."""


class Changed(ApiFault):
    """409: it is not what it was taken for (another uid, another version)."""


class Refused(ApiFault):
    """The request will never be taken as it is: invalid, or not admitted."""


class Forbidden(ApiFault):
    """The server's own rights do not allow this; they may be given (back)."""


class OverQuota(ApiFault):
    """A quota of the namespace is used up; it may get free again."""


class Expired(ApiFault):
    """410: the version asked for is too old; list anew."""


class Unreachable(ApiFault):
    """No answer, or one that says to come again: nothing is known of what was asked.

    ``retry_after_s`` is how long the API server wants to be left alone.
    """

    retry_after_s: float = 0.0


def fault(status: int, reason: str, message: str, retry_after: str = "") -> ApiFault:
    """The fault that an answer stands for; ``reason`` is the machine's word of a Status object."""
    if status in (408, 429) or status >= 500 or reason == "TooManyRequests":
        busy = Unreachable(message, status)
        busy.retry_after_s = float(retry_after) if retry_after.isdecimal() else 0.0
        return busy
    if status == 403:
        return _forbidden(message)
    meant = _KINDS.get((status, reason)) or _KINDS.get((status, "")) or Refused
    return meant(message, status)


def _forbidden(message: str) -> ApiFault:
    """403 has three meanings, told apart by their words alone."""
    if "exceeded quota" in message or "status unknown for quota" in message:  # the latter is one that was just made
        return OverQuota(message, 403)
    if 'User "' in message and " cannot " in message:
        return Forbidden(message, 403)
    return Refused(message, 403)


_KINDS: dict[tuple[int, str], type[ApiFault]] = {
    (401, ""): Forbidden,
    (404, ""): Missing,
    (409, "AlreadyExists"): Exists,
    (409, ""): Changed,
    (410, ""): Expired,
}
