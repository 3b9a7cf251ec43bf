"""Write report.html, with a plot inside, and the plot by itself as report.png."""

import argparse
import base64
import html
import json
import pathlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

WRONG_SHOWN = 5

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Digits: {name}</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
td, th {{ padding: .2rem 1rem .2rem 0; text-align: left }} img {{ max-width: 100% }}</style>
<h1>Digits: {name}</h1>
<p>{right} of {images} test images were read rightly: accuracy {accuracy:.2%}, F1 {f1:.4f}.</p>
<table><tr><th>Model<th>Validation {metric}<th>Trained in</tr>{rows}</table>
<p><img alt="Validation scores, confusion matrix and wrong images" src="data:image/png;base64,{image}"></p>
</html>
"""


def draw(choice: dict, results: dict, wrong: dict, target: pathlib.Path) -> None:
    figure = plt.figure(figsize=(11, 6.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 1.2))
    scores, matrix = above.subplots(1, 2)
    draw_scores(scores, choice)
    draw_confusion(matrix, np.array(results["confusion"]))
    draw_wrong(below, wrong)
    figure.savefig(target, dpi=110)


def draw_scores(axes: plt.Axes, choice: dict) -> None:
    names = [candidate["name"].replace(" (", "\n(") for candidate in choice["all"]]
    values = [candidate[choice["metric"]] for candidate in choice["all"]]
    bars = axes.barh(names, values, color=["tab:green"] + ["tab:gray"] * (len(names) - 1))
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set(title=f"Validation {choice['metric']}", xlim=(min(values) - 0.02, 1.01))
    axes.invert_yaxis()


def draw_confusion(axes: plt.Axes, confusion: np.ndarray) -> None:
    axes.imshow(confusion, cmap="Blues")
    axes.set(title="Confusion on the test set", xlabel="read as", ylabel="is", xticks=range(10), yticks=range(10))
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if row == column else "tab:red"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)


def draw_wrong(figure: plt.Figure, wrong: dict) -> None:
    figure.suptitle(f"Read wrongly (of {len(wrong['said'])})" if len(wrong["said"]) else "None was read wrongly")
    for place, axes in enumerate(figure.subplots(1, WRONG_SHOWN)):
        axes.axis("off")
        if place < len(wrong["said"]):
            axes.imshow(wrong["images"][place].reshape(8, 8), cmap="gray_r")
            axes.set_title(f"{wrong['true'][place]} read as {wrong['said'][place]}", fontsize=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--best", type=pathlib.Path, required=True, help="the JSON file of choose.py")
    parser.add_argument("--results", type=pathlib.Path, required=True, help="the folder of evaluate.py")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for report.html and report.png")
    options = parser.parse_args()

    choice = json.loads(options.best.read_text())
    results = json.loads((options.results / "results.json").read_text())
    plot = options.out / "report.png"
    draw(choice, results, dict(np.load(options.results / "wrong.npz")), plot)
    rows = "".join(
        f"<tr><td>{html.escape(item['name'])}<td>{item[choice['metric']]:.4f}<td>{item['seconds']:.1f} s</tr>"
        for item in choice["all"]
    )
    page = PAGE.format(
        name=html.escape(results["name"]),
        right=results["images"] - results["wrong"],
        images=results["images"],
        accuracy=results["accuracy"],
        f1=results["f1"],
        metric=choice["metric"],
        rows=rows,
        image=base64.b64encode(plot.read_bytes()).decode(),
    )
    (options.out / "report.html").write_text(page)
    print(f"{results['name']}: accuracy {results['accuracy']:.4f} on the test set")
    print(f"the report is {options.out / 'report.html'}")


if __name__ == "__main__":
    main()
