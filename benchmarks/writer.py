"""W10's task: ``writer.py LINES EACH_10_MS``; every line holds its number and the moment it was written."""

import sys
import time

lines, burst = int(sys.argv[1]), int(sys.argv[2])
time.sleep(2)  # so that all followers are there
begin = time.monotonic()
for first in range(0, lines, burst):
    time.sleep(max(0.0, begin + first / burst / 100 - time.monotonic()))
    now = time.time_ns()
    numbers = range(first, min(lines, first + burst))
    sys.stdout.write("".join(f"{now} {number:06d} epoch 3 loss 0.1234 accuracy 0.9876\n" for number in numbers))
    sys.stdout.flush()
