"""Odin runs machine-learning pipelines: a DAG of tasks in git, on a laptop or a cluster."""

__version__ = "0.1.0"
