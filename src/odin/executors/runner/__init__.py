"""The process that owns a machine's tasks, so that the server may crash, restart or be upgraded while they run.

Standard library only and no import of the rest of Odin: it is started as ``python -I -S <this folder>``.

    start      arguments, the lock, the socket, going into the background
    loop       one thread: children that ended, requests, timers, then one journal write and one send a turn
    servers    who is connected, and who of them drives which pipeline
    requests   what each request of a server does
    room       what may start: CPUs and GPUs, whoever asks
    bodies     the life of what runs: timeout, stop, the rest of its tree, its end
    adoption   bodies that an earlier runner started
    shutdown   whether the machine is being shut down
    ending     what an end means: code, reason, sentence
    ledger     what is known of each attempt; the ``journal`` is its durable half
    spawn      the start record (the log file) and the process; ``program`` finds it and words what failed
    linux      marks, subreaper, pidfd; ``portable`` does without
    wire       lines of JSON over the socket

Source: architecture.md, "Local, and its runner"; reliability.md, F-03, F-08, F-80 to F-93.
"""
