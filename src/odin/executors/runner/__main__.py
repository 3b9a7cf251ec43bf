"""Runs the folder as a program: it must become a package first, under ``-I`` and ``-S`` too."""

import sys
from pathlib import Path

if not __package__:
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)
    __package__, __spec__ = here.name, None

from .start import main

sys.exit(main(sys.argv[1:]))
