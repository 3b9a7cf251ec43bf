"""Choose the best of several trained models by one of their metrics."""

import argparse
import json
import pathlib

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folders", nargs="+", type=pathlib.Path, metavar="FOLDER", help="with model and metrics.json")
parser.add_argument("--metric", default="accuracy", help="the greater the better")
parser.add_argument("--out", type=pathlib.Path, required=True, help="the JSON file to write")
options = parser.parse_args()

candidates = [
    {**json.loads((folder / "metrics.json").read_text()), "model": str(folder / "model.joblib")}
    for folder in options.folders
]
candidates.sort(key=lambda candidate: candidate[options.metric], reverse=True)
for place, candidate in enumerate(candidates, start=1):
    print(f"{place}. {candidate['name']:<28} {options.metric} {candidate[options.metric]:.4f}")

options.out.write_text(json.dumps({"metric": options.metric, "best": candidates[0], "all": candidates}, indent=2))
print(f"the best is {candidates[0]['name']}")
