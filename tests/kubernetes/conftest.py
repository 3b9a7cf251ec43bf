"""A cluster to test against: the one that KUBECONFIG names."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SomeCluster:
    kubeconfig: Path
    kubectl: Callable[..., str]


@pytest.fixture(scope="session")
def cluster() -> SomeCluster:
    named, program = os.environ.get("KUBECONFIG"), shutil.which("kubectl")
    if not named or not program:
        pytest.skip("not run here: KUBECONFIG names no cluster")

    def kubectl(*words: str) -> str:
        done = subprocess.run([program, "--kubeconfig", named, *words], capture_output=True, text=True)
        assert done.returncode == 0, f"kubectl {' '.join(words)}\n{done.stderr}"
        return done.stdout

    return SomeCluster(Path(named), kubectl)
