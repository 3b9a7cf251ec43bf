"""Fit a line to noisy points by gradient descent, with the settings of a file and one learning rate."""

import argparse
import json
import pathlib
import random

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--config", type=pathlib.Path, required=True, help="JSON with epochs, seed and points")
parser.add_argument("--lr", type=float, required=True, help="the learning rate")
parser.add_argument("--out", type=pathlib.Path, required=True, help="file for the result")
options = parser.parse_args()

config = json.loads(options.config.read_text())
rng = random.Random(config["seed"])
xs = [rng.uniform(-1, 1) for _ in range(config["points"])]
points = [(x, 3 * x - 1 + rng.gauss(0, 0.1)) for x in xs]

slope = offset = loss = 0.0
for epoch in range(config["epochs"]):
    errors = [(slope * x + offset - y, x) for x, y in points]
    loss = sum(error * error for error, _ in errors) / len(points)
    slope -= options.lr * 2 * sum(error * x for error, x in errors) / len(points)
    offset -= options.lr * 2 * sum(error for error, _ in errors) / len(points)
    if epoch % 10 == 0:
        print(f"epoch {epoch}: loss {loss:.4f}", flush=True)

options.out.write_text(json.dumps({"lr": options.lr, "loss": loss, "slope": slope, "offset": offset}))
print(f"y = {slope:.3f} x + {offset:.3f}, loss {loss:.4f}")
