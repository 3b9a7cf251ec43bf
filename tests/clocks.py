"""The wall clock of programs that a test starts, set as it likes."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path


class JumpingClock:
    """The wall clock of whatever is started by the command ``under``; what counts from its start is left alone."""

    def __init__(self, folder: Path) -> None:
        self._file, library = folder / "ahead", folder / "clocks.so"
        self.set(0)
        source = Path(__file__).with_name("clocks.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.under = ("env", f"LD_PRELOAD={library}", f"ODIN_TEST_CLOCK={self._file}")

    @staticmethod
    def is_possible() -> bool:
        """It needs a C compiler. libfaketime would do more than that, and Python's time.sleep() fails under it."""
        return shutil.which("cc") is not None

    def set(self, ahead_s: int) -> None:
        """From now on it says so many seconds more than the machine's."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            os.pwrite(file.fileno(), struct.pack("q", ahead_s), 0)
