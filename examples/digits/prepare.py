"""Split the digits data into training, validation and test sets, with the same share of every digit in each."""

import argparse

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", required=True, help="the .npz file to write")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

images, labels = load_digits(return_X_y=True)
images = images / 16.0  # pixels are 0 to 16
rest, x_test, rest_labels, y_test = train_test_split(
    images, labels, test_size=0.2, stratify=labels, random_state=options.seed
)
x_train, x_valid, y_train, y_valid = train_test_split(
    rest, rest_labels, test_size=0.25, stratify=rest_labels, random_state=options.seed
)
np.savez(
    options.out,
    x_train=x_train,
    y_train=y_train,
    x_valid=x_valid,
    y_valid=y_valid,
    x_test=x_test,
    y_test=y_test,
)
print(f"{len(images)} images of 8 x 8 pixels")
print(f"training {len(x_train)}, validation {len(x_valid)}, test {len(x_test)}")
print(f"wrote {options.out}")
