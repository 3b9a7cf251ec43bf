"""Named points at which a test may kill, stop, delay or fail this process.

The code behind them is in the separate test distribution (``testing/``). Without it, as in every production
install, ``reach`` does nothing and ``ODIN_FAULT`` means nothing. Source: reliability.md, section 2.2.
"""

try:
    from odin_testing.faults import reach
except ImportError:

    def reach(point: str) -> None:
        """Pass a named point; without the test distribution, do nothing."""


__all__ = ["reach"]
