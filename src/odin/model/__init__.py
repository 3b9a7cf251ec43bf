"""What Odin decides: job files, graph, variables, ids, the state machine. No I/O, no clock, no async."""
