"""Hostile bytes for every decoder and for whole sessions: C{python -m tests.fuzz TARGET}.

Inputs are made from valid frames by mutation that knows the structure of each encoding,
everything from one seed.  What a target must never do is raise, take more than its share
of CPU time, or of memory.
"""
