"""Evaluate the chosen model on the test set, which no training has seen."""

import argparse
import json
import pathlib

import joblib
import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", required=True, help="the .npz file of prepare.py")
parser.add_argument("--best", type=pathlib.Path, required=True, help="the JSON file of choose.py")
parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for results.json and wrong.npz")
options = parser.parse_args()

data = np.load(options.data)
best = json.loads(options.best.read_text())["best"]
predicted = joblib.load(best["model"]).predict(data["x_test"])
wrong = predicted != data["y_test"]
results = {
    "name": best["name"],
    "images": len(predicted),
    "wrong": int(wrong.sum()),
    "accuracy": float(accuracy_score(data["y_test"], predicted)),
    "f1": float(f1_score(data["y_test"], predicted, average="macro")),
    "confusion": confusion_matrix(data["y_test"], predicted).tolist(),
}
(options.out / "results.json").write_text(json.dumps(results))
np.savez(options.out / "wrong.npz", images=data["x_test"][wrong], said=predicted[wrong], true=data["y_test"][wrong])
print(f"{best['name']} on {results['images']} test images: {results['wrong']} wrong")
print(f"accuracy {results['accuracy']:.4f}, F1 {results['f1']:.4f}")
