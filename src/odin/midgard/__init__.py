"""The node agent: one on each machine, it reads the GPUs and reports them to the server. The standard library and NVML.

One loop watches everything; what may hang has a process of its own, forked from it, that is killed when it takes too
long: the driver (``cards``) and the network (``reporter``). Source: reliability.md, F-95 and A-104.
"""
