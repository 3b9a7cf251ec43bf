"""What was found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from odin.fsck.scene import Difference


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference and what became of it; ``failure`` says why it could not be mended."""

    difference: Difference
    is_mended: bool = False
    failure: str = ""


def as_json(findings: Sequence[Finding], server: str | None) -> str:
    """One object; ``server`` names who holds the data folder."""
    told = [
        {
            "kind": each.difference.kind,
            "place": each.difference.place,
            "what": each.difference.what,
            "remedy": each.difference.remedy,
            "repairable": each.difference.mend is not None,
            "repaired": each.is_mended,
            "failure": each.failure or None,
        }
        for each in findings
    ]
    clean = all(each.is_mended for each in findings)
    return json.dumps({"clean": clean, "server": server, "differences": told}, indent=2)


def as_lines(findings: Sequence[Finding], *, repair: bool, has_cluster: bool) -> list[str]:
    """A line for each, then one for all; the cluster is named only where there is one."""
    lines = [f"{each.difference.kind}: {each.difference.place}: {_told(each, repair=repair)}" for each in findings]
    return [*lines, _summary(findings, repair=repair) if findings else _clean(has_cluster)]


def _told(each: Finding, *, repair: bool) -> str:
    one = each.difference
    if each.is_mended:
        end = f"repaired: {one.remedy}"
    elif each.failure:
        end = f"NOT repaired: {each.failure}"
    elif one.mend is None:
        end = f"by hand: {one.remedy}"
    else:
        end = f"{'NOT repaired' if repair else '--repair'}: {one.remedy}"
    return f"{one.what}; {end}"


def _summary(findings: Sequence[Finding], *, repair: bool) -> str:
    left = [each for each in findings if not each.is_mended]
    if repair:
        return f"{len(findings) - len(left)} of {len(findings)} differences repaired"
    mendable = sum(each.difference.mend is not None for each in left)
    return f"{len(left)} differences; odin-fsck --repair, with the server stopped, mends {mendable} of them"


def _clean(has_cluster: bool) -> str:
    return f"clean: database, files, git{', processes and cluster' if has_cluster else ' and processes'} agree"
