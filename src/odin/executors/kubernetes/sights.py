"""What an object in the cluster says of its attempt at one moment: read, never remembered.

A ``Kind`` reads its own objects, ``podstatus`` reads pods; the executor turns sights into reports.
"""

from __future__ import annotations

from dataclasses import dataclass

from odin.model.reports import Reason


@dataclass(frozen=True, slots=True)
class Waits:
    """It exists and does not run yet (or no longer: suspended). ``why`` is one sentence, empty if nothing is amiss.

    ``image`` is true while an image cannot be pulled, which ends the attempt after its ``image_timeout``;
    ``config`` while something that the pod names (a secret, say) is missing; ``suspended`` while somebody, a queue
    say, holds it back on purpose.
    """

    why: str = ""
    image: bool = False
    config: bool = False
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Runs:
    """A container of it runs. ``at`` is POSIX seconds; ``why`` a sentence when something is amiss (node away)."""

    at: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Over:
    """It is over for good. As ``odin.model.reports.Ended``."""

    code: int | None
    reason: Reason
    message: str = ""
    started_at: float | None = None
    ended_at: float | None = None


Sight = Waits | Runs | Over
