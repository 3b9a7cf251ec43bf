"""Count the primes of one range: primes.py RANGES NAME."""

import json
import os
import sys

ranges, name = sys.argv[1:]
with open(ranges) as file:
    first, last = json.load(file)[name]
sieve = bytearray([0, 0]) + bytearray([1]) * (last - 1)
for number in range(2, int(last**0.5) + 1):
    if sieve[number]:
        sieve[number * number :: number] = bytes(len(range(number * number, last + 1, number)))
count = sum(sieve[first:])
print(f"{name}: {count} primes from {first} to {last}")
with open(os.environ["ODIN_OUTPUTS"], "w") as file:
    json.dump({"primes": count}, file)
