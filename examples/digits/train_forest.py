"""Train a random forest, a quarter of its trees at a time."""

import argparse
import json
import pathlib
import time

import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", required=True, help="the .npz file of prepare.py")
parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for model.joblib and metrics.json")
parser.add_argument("--trees", type=int, default=100)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

data = np.load(options.data)
began = time.perf_counter()
model = RandomForestClassifier(warm_start=True, random_state=options.seed)
for quarter in range(1, 5):
    model.set_params(n_estimators=max(1, options.trees * quarter // 4))
    model.fit(data["x_train"], data["y_train"])
    predicted = model.predict(data["x_valid"])
    accuracy = float(accuracy_score(data["y_valid"], predicted))
    print(f"{model.n_estimators} trees: validation accuracy {accuracy:.4f}")

joblib.dump(model, options.out / "model.joblib")
metrics = {
    "name": f"Random forest ({options.trees} trees)",
    "accuracy": accuracy,
    "f1": float(f1_score(data["y_valid"], predicted, average="macro")),
    "seconds": time.perf_counter() - began,
}
(options.out / "metrics.json").write_text(json.dumps(metrics))
print(f"accuracy {metrics['accuracy']:.4f}, F1 {metrics['f1']:.4f}")
