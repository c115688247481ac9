"""Tests for L{bench.names}: it measures, and it would see a difference."""

from __future__ import annotations

from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from bench import names
from bench.names import LEVEL, kolmogorov_smirnov, mann_whitney, seen
from tests.test_bench import call

ONE = [1.0, 2.0, 3.0, 4.0, 5.0]


class StatisticsTests(SynchronousTestCase):
    """The two tests, on samples that were computed by other means."""

    def test_apart(self) -> None:
        """All of one before all of the other: U = 0, z = -2.611; D = 1."""
        other = [value + 5 for value in ONE]
        self.assertAlmostEqual(mann_whitney(ONE, other), 0.00902, 5)
        self.assertAlmostEqual(kolmogorov_smirnov(ONE, other), 0.00378, 4)

    def test_same(self) -> None:
        """The same values, all of them tied, and all the same value."""
        for test in (mann_whitney, kolmogorov_smirnov):
            self.assertEqual(test(ONE, ONE), 1.0)
            self.assertEqual(test([1.0] * 5, [1.0] * 5), 1.0)

    def test_ties(self) -> None:
        """Ties share their rank, and lessen the spread: ranks 1.5 + 1.5 + 4, z = -1.65."""
        self.assertAlmostEqual(mann_whitney([1, 1, 2], [2, 2, 3]), 0.0990, 4)

    def test_level(self) -> None:
        """Of samples of one distribution about one in a hundred is taken for two."""
        random = Random(7)
        for test in (mann_whitney, kolmogorov_smirnov):
            found = sum(
                test([random.random() for _ in range(40)], [random.random() for _ in range(40)]) < LEVEL
                for _ in range(200)
            )
            self.assertLess(found, 8)

    def test_seen(self) -> None:
        """A small shift is found, and how small it may be depends on the spread."""
        random = Random(7)
        for spread in (1e-5, 1e-4):
            one, other = ([random.gauss(1e-3, spread) for _ in range(500)] for _ in range(2))
            for test in (mann_whitney, kolmogorov_smirnov):
                self.assertTrue(spread / 20 < seen(one, other, test) < spread / 2)


class NamesTests(SynchronousTestCase):
    """Very few names."""

    def setUp(self) -> None:
        """A place for the files."""
        self.data = Path(self.mktemp())
        self.data.mkdir()

    def test_measured(self) -> None:
        """Both times are compared by both tests."""
        status, out, err = call(names.main, "--data", str(self.data), "--count", "20")
        self.assertEqual(err, "")
        self.assertEqual(out.count("; mann_whitney p = "), 2)
        self.assertEqual(out.count("; kolmogorov_smirnov p = "), 2)
        self.assertEqual("no difference\n" in out, status == 0)
        self.assertEqual(list(self.data.iterdir()), [])
