from itertools import cycle

import pytest

from odin.api.addresses import block, is_loopback, within
from odin.api.rates import KEPT, Rates
from odin.model.errors import TooManyRequests


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rates(clock):
    return Rates(clock)


def verified(rates, tries, clock=None, every_s=0.0):
    """How many of the tries, (user, address) each, would have been verified; all are wrong."""
    count = 0
    for username, address in tries:
        if clock is not None:
            clock.now += every_s
        try:
            rates.check(username, address)
        except TooManyRequests:
            continue
        count += 1
        rates.failed(username, address)
    return count


def test_a50_ten_thousand_tries_from_fifty_addresses_are_verified_at_most_two_hundred_times(rates):
    addresses = cycle(f"203.0.113.{i}" for i in range(50))
    assert verified(rates, [("ada", next(addresses)) for _ in range(10_000)]) <= 200


def test_a50_the_right_password_from_elsewhere_still_works_during_an_attack(rates):
    verified(rates, [("ada", f"203.0.113.{i % 50}") for i in range(10_000)])
    rates.check("ada", "198.51.100.7")


def test_a50_one_address_that_tries_many_users_is_slowed(rates):
    assert verified(rates, [(f"user{i}", "203.0.113.1") for i in range(1_000)]) == 10


def test_a50_nobody_is_locked_out_for_longer_than_a_quarter_of_an_hour(rates, clock):
    verified(rates, [("ada", "203.0.113.1")] * 10_000, clock, every_s=1.0)
    with pytest.raises(TooManyRequests) as caught:
        rates.check("ada", "203.0.113.1")
    assert 0 < caught.value.retry_after_s <= 900
    clock.now += 900
    rates.check("ada", "203.0.113.1")


def test_a50_waiting_grows_with_each_round_of_guesses(rates, clock):
    waits = []
    for _ in range(100):
        try:
            rates.check("ada", "203.0.113.1")
            rates.failed("ada", "203.0.113.1")
        except TooManyRequests as refused:
            waits.append(refused.retry_after_s)
            clock.now += refused.retry_after_s
    assert waits == sorted(waits)
    assert len(set(waits)) > 2


def test_a50_a_few_mistakes_a_minute_cost_nothing(rates, clock):
    assert verified(rates, [("ada", "203.0.113.1")] * 9) == 9


def test_a50_users_of_one_machine_do_not_slow_each_other(rates):
    verified(rates, [("mallory", "127.0.0.1")] * 100)
    rates.check("ada", "127.0.0.1")


def test_a50_the_right_password_forgives_the_mistakes_of_this_place(rates):
    for _ in range(20):
        for _ in range(2):
            rates.check("ada", "127.0.0.1")
            rates.failed("ada", "127.0.0.1")
        rates.check("ada", "127.0.0.1")
        rates.succeeded("ada", "127.0.0.1")


def test_a50_a_network_of_ipv6_addresses_counts_as_one(rates):
    assert verified(rates, [(f"user{i}", f"2001:db8::{i:x}") for i in range(100)]) == 10


def test_a50_guesses_at_ever_new_names_do_not_fill_the_memory(rates):
    for i in range(KEPT + 100):
        rates.failed(f"user{i}", f"10.{i >> 16}.{(i >> 8) & 255}.{i & 255}")
    assert len(rates._users) == len(rates._pairs) == len(rates._places) == KEPT


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", ""),
        ("127.8.9.1", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_which_addresses_count_as_one(address, counts_as):
    assert block(address) == counts_as


def test_an_address_lies_in_a_network_or_is_one_itself():
    assert within("10.1.2.3", ["10.0.0.0/8"])
    assert within("::ffff:10.1.2.3", ["10.1.2.3"])
    assert not within("11.1.2.3", ["10.0.0.0/8", "::/0"])
    assert not within("", ["0.0.0.0/0"])
    assert is_loopback("localhost")
    assert not is_loopback("localhost.evil.example")
