"""How often each word comes: count.py IN OUT."""

import collections
import json
import sys

source, target = sys.argv[1:]
with open(source) as file:
    counts = collections.Counter(file.read().split())
with open(target, "w") as file:
    json.dump(counts, file)
print(f"counted {counts.total()} words, {len(counts)} of them different")
