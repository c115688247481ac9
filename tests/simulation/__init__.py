"""The seeded simulation: the real server and clients in a world where everything that can fail does.

C{python -m tests.simulation --seed N --steps M} runs one world; all that happens in it
is drawn from the seed, so the same seed tells the same story, byte for byte.
"""
