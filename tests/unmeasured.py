"""Tests that coverage is not measured of: they repeat for long what others do once.

To measure takes as long again as the test itself, and would only say of code that is held by nothing else
that some world, crash or mutation came by.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase


class UnmeasuredTestCase(SynchronousTestCase):
    """Where coverage is measured, it is not for as long as these tests run."""

    def run(self, result: Any = None) -> Any:
        """Run the test."""
        coverage: Any = sys.modules.get("coverage")
        measured = coverage.Coverage.current() if coverage is not None else None
        if measured is None:
            return super().run(result)
        measured.stop()
        try:
            return super().run(result)
        finally:
            measured.start()
