"""Train a network with one hidden layer, epoch by epoch."""

import argparse
import json
import pathlib
import time

import joblib
import numpy as np
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neural_network import MLPClassifier

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", required=True, help="the .npz file of prepare.py")
parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for model.joblib and metrics.json")
parser.add_argument("--hidden", type=int, default=64, help="units of the hidden layer")
parser.add_argument("--epochs", type=int, default=25)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

data = np.load(options.data)
began = time.perf_counter()
model = MLPClassifier((options.hidden,), batch_size=32, learning_rate_init=0.005, random_state=options.seed)
for epoch in range(1, options.epochs + 1):
    model.partial_fit(data["x_train"], data["y_train"], classes=np.arange(10))
    accuracy = float(accuracy_score(data["y_valid"], model.predict(data["x_valid"])))
    if epoch % 5 == 0 or epoch == options.epochs:
        print(f"epoch {epoch}/{options.epochs}: loss {model.loss_:.4f}, validation accuracy {accuracy:.4f}")

joblib.dump(model, options.out / "model.joblib")
metrics = {
    "name": f"Network ({options.hidden} hidden units)",
    "accuracy": accuracy,
    "f1": float(f1_score(data["y_valid"], model.predict(data["x_valid"]), average="macro")),
    "seconds": time.perf_counter() - began,
}
(options.out / "metrics.json").write_text(json.dumps(metrics))
print(f"accuracy {metrics['accuracy']:.4f}, F1 {metrics['f1']:.4f}")
