"""Tests for L{bench.strangers}: the owner gets in."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import strangers
from tests.test_bench import call


class StrangersTests(SynchronousTestCase):
    """A real server, and few strangers."""

    def test_measured(self) -> None:
        """It prints how long the owner takes, alone and among strangers."""
        few = ("--addresses", "3", "--times", "1", "--rounds", "4", "--settle", "0.2")
        folder = Path(self.mktemp())
        folder.mkdir()
        status, printed, complaints = call(strangers.main, *few, "--data", str(folder))
        self.assertEqual((status, complaints), (0, ""))
        for words in (
            "nobody else",
            "3 strangers, the owner comes from where she was before",
            "where nobody was",
        ):
            self.assertIn(words, printed)
