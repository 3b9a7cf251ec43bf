"""Passwords: which are taken, and their hashes (Argon2id, 19 MiB, two passes).

A hash takes tens of milliseconds and 19 MiB, so it is made in a thread and never more than two at once.
Source: dependencies.md, section 5; reliability.md, A-50 to A-52.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import TypeVar

import anyio.to_thread
from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from odin.model.errors import Problem, Unavailable, ValidationFailed

T = TypeVar("T")

SHORTEST = 8  # characters; 15 are advised
LONGEST_BYTES = 1024
AT_ONCE = 2
LONGEST_QUEUE = 200
# How the words below are dressed up: "P@ssw0rd2024!" is "password".
UNLEET = str.maketrans("0134578@$!", "oieastbasi")
EDGES = re.compile(r"^[\W\d_]+|[\W\d_]+$")
RUNS = ("01234567890123456789", "98765432109876543210", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")
KEYS = frozenset({"1q2w3e4r", "1q2w3e4r5t", "1qaz2wsx", "1qazxsw2", "q1w2e3r4", "q1w2e3r4t5", "zaq12wsx", "1234qwer"})
# What the password of an unknown user is compared with, so that it takes the same time. Of a random password.
DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$19uGodmJIlVeekE2fYYGqg$DHPCqD5mPMKRK8PDx7Fw7VP6y8LZhI5BEXsXUjGHnpU"


def check_password(password: str, username: str = "") -> None:
    """Raise ValidationFailed for a password that is too short, too long, or among the first that are guessed."""
    if len(password) > LONGEST_BYTES or len(password.encode(errors="surrogatepass")) > LONGEST_BYTES:
        _refuse(f"a password has at most {LONGEST_BYTES} bytes")
    if len(password) < SHORTEST:
        _refuse(f"a password has at least {SHORTEST} characters; 15 or more are better")
    if _guessable(password.lower(), username.lower()):
        _refuse("this password is among the first that are guessed; take a few unrelated words instead")


@functools.cache
def _words() -> frozenset[str]:
    """Words that are guessed first, in their plain form."""
    return frozenset(resources.files("odin.api").joinpath("guessed.txt").read_text().split())


def _guessable(password: str, username: str) -> bool:
    plain = {
        EDGES.sub("", password),
        EDGES.sub("", password.translate(UNLEET)),
        EDGES.sub("", password).translate(UNLEET),
    }
    return (
        len(set(password)) < 3
        or password in KEYS
        or bool(plain & _words())
        or bool(username and username in plain)
        or any(password in run for run in RUNS)
    )


def _refuse(sentence: str) -> None:
    raise ValidationFailed(sentence, problems=[Problem(sentence, path="password")])


def hasher() -> PasswordHasher:
    """Argon2id with the parameters that every hash is made with."""
    return PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1, type=Type.ID)


class Passwords:
    """Makes and checks hashes off the event loop; ``computed`` counts both."""

    def __init__(self) -> None:
        self._hasher = hasher()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self.computed = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One of two at once may make or check hashes; raises Unavailable when too many wait already."""
        if self._waiting >= LONGEST_QUEUE:
            raise Unavailable("too many sign-ins at once; try again")
        self._waiting += 1
        try:
            async with self._turns:
                yield
        finally:
            self._waiting -= 1

    async def hash(self, password: str) -> str:
        """The hash of a new password; only within a turn."""
        return await self._run(self._hasher.hash, password)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is right; only within a turn.

        None stands for an unknown user, costs the same and is never right.
        """
        found = await self._run(self._verify, password_hash or DUMMY, password)
        return found and password_hash is not None

    def outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password.encode(errors="surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *args: str) -> T:
        self.computed += 1
        return await anyio.to_thread.run_sync(work, *args)
