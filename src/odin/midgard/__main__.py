"""``python -m odin.midgard`` is ``odin-midgard``."""

from odin.midgard.program import command

raise SystemExit(command())
