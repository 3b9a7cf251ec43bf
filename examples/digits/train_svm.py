"""Train support vector machines of several costs and keep the one that does best on the validation set."""

import argparse
import json
import pathlib
import time

import joblib
import numpy as np
from sklearn.metrics import accuracy_score, f1_score
from sklearn.svm import SVC

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", required=True, help="the .npz file of prepare.py")
parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for model.joblib and metrics.json")
parser.add_argument("--cost", type=float, action="append", required=True, help="may be repeated")
options = parser.parse_args()

data = np.load(options.data)
began = time.perf_counter()
best = None
for cost in options.cost:
    model = SVC(C=cost, gamma="scale").fit(data["x_train"], data["y_train"])
    predicted = model.predict(data["x_valid"])
    accuracy = float(accuracy_score(data["y_valid"], predicted))
    print(f"cost {cost:g}: validation accuracy {accuracy:.4f}, {len(model.support_)} support vectors")
    if best is None or accuracy > best["accuracy"]:
        f1 = float(f1_score(data["y_valid"], predicted, average="macro"))
        best = {"name": f"SVM (cost {cost:g})", "accuracy": accuracy, "f1": f1}
        joblib.dump(model, options.out / "model.joblib")
best["seconds"] = time.perf_counter() - began
(options.out / "metrics.json").write_text(json.dumps(best))
print(f"kept {best['name']}: accuracy {best['accuracy']:.4f}, F1 {best['f1']:.4f}")
