"""Put both sides of the diamond together: hello.py COUNTS SHOUTED."""

import json
import os
import sys

counts_path, shouted_path = sys.argv[1:]
with open(counts_path) as file:
    counts = json.load(file)
with open(shouted_path) as file:
    shouted = dict.fromkeys(file.read().split())
for word in shouted:
    times = counts[word.lower()]
    print(f"{os.environ['GREETING']}, {word}!" + (f" (x{times})" if times > 1 else ""))
print(f"this was task {os.environ['ODIN_TASK_NAME']} of pipeline {os.environ['ODIN_PIPE_ID']}")
