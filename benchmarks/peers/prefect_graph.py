"""The graph of ``graph.json`` for prefect, with the server that it starts for itself."""

import json
import subprocess
from pathlib import Path

from prefect import flow, task
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner


@task
def run():
    subprocess.run(["/bin/true"], check=True)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=16))
def graph():
    futures = {}
    for name, parents in json.loads(Path("graph.json").read_text()).items():
        futures[name] = run.submit(wait_for=[futures[parent] for parent in parents])
    wait(list(futures.values()))


if __name__ == "__main__":
    graph()
