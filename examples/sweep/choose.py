"""Print the learning rate with the smallest loss; arguments are the results of train.py."""

import json
import pathlib
import sys

results = [json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:]]
for result in sorted(results, key=lambda result: result["loss"]):
    print(f"lr {result['lr']:g}: loss {result['loss']:.4f}")
best = min(results, key=lambda result: result["loss"])
print(f"best: lr {best['lr']:g}")
