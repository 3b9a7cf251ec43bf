import asyncio

import pytest

from odin.api.passwords import DUMMY, LONGEST_QUEUE, Passwords, check_password, hasher
from odin.model.errors import Unavailable, ValidationFailed

WEAK = [
    "",
    "short",
    "1234567",
    "password",
    "Password1",
    "P@ssw0rd2024!",
    "passw0rd",
    "12345678",
    "87654321",
    "qwertyuiop",
    "asdfghjkl",
    "iloveyou",
    "letmein!",
    "welcome123",
    "admin123",
    "administrator",
    "changeme",
    "aaaaaaaa",
    "abababab",
    "1q2w3e4r",
    "sunshine1",
    "supersecret",
    "alice2024",
    "ALICE!!!!",
    "abcdefgh",
    "trustno1",
]


@pytest.mark.parametrize("password", WEAK)
def test_a52_a_weak_password_is_refused(password):
    with pytest.raises(ValidationFailed) as caught:
        check_password(password, "alice")
    assert caught.value.problems[0].path == "password"


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "paß wörter ändern", "x9$Lk2!pQ", "\u202e\0\n strange", "🐎🔋🐎🔋🖇x y z", "a b" * 300],
)
def test_a52_any_characters_make_a_password(password):
    check_password(password, "alice")


def test_a52_a_password_of_a_mebibyte_is_refused_before_any_work():
    with pytest.raises(ValidationFailed, match="at most 1024 bytes"):
        check_password("x" * 2**20)
    with pytest.raises(ValidationFailed):
        check_password("é" * 513)


def within_turns(work):
    async def main():
        passwords = Passwords()
        async with passwords.turn():
            return await work(passwords)

    return asyncio.run(main())


def test_a52_passwords_that_begin_with_the_same_72_bytes_are_different():
    async def work(passwords):
        kept = await passwords.hash("x" * 72 + "a")
        return await passwords.matches(kept, "x" * 72 + "a"), await passwords.matches(kept, "x" * 72 + "b")

    assert within_turns(work) == (True, False)


def test_a52_hashes_are_argon2id_with_19_mebibytes():
    assert hasher().hash("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert not Passwords().outdated(DUMMY)


def test_a51_an_unknown_user_costs_one_hash_like_a_known_one():
    async def work(passwords):
        kept = await passwords.hash("right")
        counts = []
        for password_hash in (kept, None):
            before = passwords.computed
            assert not await passwords.matches(password_hash, "wrong")
            counts.append(passwords.computed - before)
        return counts

    assert within_turns(work) == [1, 1]


def test_a50_at_most_two_hashes_are_made_at_once():
    async def main():
        passwords, inside, most = Passwords(), 0, 0

        async def one():
            nonlocal inside, most
            async with passwords.turn():
                inside += 1
                most = max(most, inside)
                await passwords.matches(None, "x")
                inside -= 1

        await asyncio.gather(*(one() for _ in range(6)))
        return most

    assert asyncio.run(main()) == 2


def test_a50_a_crowd_that_waits_to_sign_in_is_turned_away():
    async def main():
        passwords = Passwords()

        async def one():
            async with passwords.turn():
                await asyncio.sleep(0.2)

        waiting = [asyncio.create_task(one()) for _ in range(LONGEST_QUEUE)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            async with passwords.turn():
                pass
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    asyncio.run(main())
