"""Benchmarks: run them from the top of the checkout, as in C{python -m bench.run}."""
