"""Amounts as people write them: durations, and CPU and memory in Kubernetes notation.

Source: job-files.md; https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil
from typing import Final

from odin.model.errors import InvalidInput

LONGEST_S: Final = 3650 * 86400.0
MOST_CPU_M: Final = 1_000_000_000
MOST_BYTES: Final = 2**63 - 1
MOST_DIGITS: Final = 32

_UNIT_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([smhd]?)")
_SUFFIX: Final = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", 1)},
}
_QUANTITY: Final = re.compile(r"\+?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i)?)")


def seconds(text: str) -> float:
    """Seconds of ``90``, ``1.5``, ``90s``, ``15m``, ``2h`` or ``1d``."""
    found = _DURATION.fullmatch(text) if len(text) <= MOST_DIGITS else None
    if not found:
        raise InvalidInput(f'"{text[:40]}" is no duration; write seconds, or 90s, 15m, 2h, 1d')
    amount = float(found[1]) * _UNIT_S[found[2]]
    if amount > LONGEST_S:
        raise InvalidInput(f'"{text}" is longer than 3650d, the longest duration')
    return amount


def cpu_m(text: str) -> int:
    """Thousandths of a core of ``500m``, ``2`` or ``1.5``, rounded up."""
    amount = ceil(_quantity(text, "write cores like 2, 1.5 or 500m") * 1000)
    if amount > MOST_CPU_M:
        raise InvalidInput(f'"{text}" is more CPU than {MOST_CPU_M // 1000} cores; did you mean {text}m?')
    return amount


def memory_bytes(text: str) -> int:
    """Bytes of ``2Gi``, ``512M`` or ``1000000``, rounded up."""
    if text.endswith(("m", "u", "n")):
        raise InvalidInput(f'"{text[:40]}" of memory is a fraction of a byte; did you mean {text[:-1][:40]}Mi?')
    is_near = text.endswith(("B", "b")) and _QUANTITY.fullmatch(text[:-1])
    remedy = f"did you mean {text[:-1]}?" if is_near else "write bytes like 2Gi, 512Mi or 512M"
    amount = ceil(_quantity(text, remedy))
    if amount > MOST_BYTES:
        raise InvalidInput(f'"{text}" is more memory than any machine has')
    return amount


def written_bytes(count: int) -> str:
    """``2Gi``: exactly, in the largest unit that allows it."""
    for power, letter in reversed([*enumerate("KMGTPE", 1)]):
        if count and count % 1024**power == 0:
            return f"{count // 1024**power}{letter}i"
    return str(count)


def amount(text: str) -> Fraction:
    """What a quantity of the API server stands for, exactly: cores, bytes, pieces."""
    return _quantity(text, "write a number, with a suffix such as m, Ki or G")


def _quantity(text: str, remedy: str) -> Fraction:
    found = _QUANTITY.fullmatch(text) if len(text) <= MOST_DIGITS else None
    if not found:
        raise InvalidInput(f'"{text[:40]}" is no quantity; {remedy}')
    number, exponent, suffix = found.groups()
    scale = Fraction(10) ** int(exponent) if exponent else _SUFFIX[suffix or ""]
    return Fraction(number if number[0] != "." else f"0{number}") * scale
