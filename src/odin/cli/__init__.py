"""The commands: one module for each word, imported only when that word is run.

A module has ``parser(prog)`` and ``main(options)``, which returns the exit code and raises ClientError. Nothing of the
server is imported here, but for ``odin-serve``, late and on purpose.
"""
