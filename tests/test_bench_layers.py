"""Tests for L{bench.layers} and L{bench.timers}: time is counted once, for the layer that took it."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import layers, timers
from tests.test_bench import call


class TimerTests(SynchronousTestCase):
    """The clocks at the borders."""

    def setUp(self) -> None:
        """Nothing has been entered yet, and time is what the test says."""
        self.now = 0
        self.patch(timers, "_clock", lambda: self.now)
        self.patch(timers, "_threads", [])
        self.patch(timers, "_thread", timers.Thread())

    def spend(self, milliseconds: int) -> None:
        """Use so much CPU time."""
        self.now += milliseconds * 1_000_000

    def spent(self, layer: str) -> tuple[float, int, int]:
        """Milliseconds of a layer, how often it was entered, and how often another one within it."""
        nanoseconds, entered, left = timers._thread.accounts[layer]
        return nanoseconds / 1e6, entered, left

    def test_ownTime(self) -> None:
        """A layer is told its own time, without that of the layers within it."""
        inner = timers.timed("inner", lambda: self.spend(30))

        def both() -> str:
            self.spend(10)
            inner()
            inner()
            return "done"

        self.assertEqual(timers.timed("outer", both)(), "done")
        self.assertEqual(self.spent("outer"), (10, 1, 2))
        self.assertEqual(self.spent("inner"), (60, 2, 0))

    def test_raised(self) -> None:
        """An error passes through a border, which is left all the same."""

        def fail() -> None:
            raise ZeroDivisionError

        before = timers._thread.open
        self.assertRaises(ZeroDivisionError, timers.timed("test failing", fail))
        self.assertIs(timers._thread.open, before)

    def test_bordersStand(self) -> None:
        """Every border that the tables name is a function of the server or of Twisted."""
        for table in (timers.TWISTED, timers.BARE_LOOP, timers.CHAT):
            for border, layer in table.items():
                self.assertIn(layer, timers.LAYERS)
                _, _, function = timers.find(border)
                self.assertTrue(callable(function) or isinstance(function, staticmethod), border)

    def test_missing(self) -> None:
        """A border that is not there is named."""
        for border in ("chat.session:Session.nothing", "chat.nothing:f", "chat.session:Nothing.receive"):
            error = self.assertRaises(timers.Missing, timers.wrap, {border: timers.SESSION})
            self.assertIn(border, str(error))


class ShareTests(SynchronousTestCase):
    """From two snapshots to the cost of a layer for a message."""

    def test_sum(self) -> None:
        """The cost of the clocks is taken off, and the layers and the rest sum up to what is left."""
        spent = {"": [0, 0, 10], timers.SESSION: [50_000, 10, 20], timers.DECODING: [40_000, 20, 0]}
        before = timers.Snapshot(1, 0, 100.0, 200.0, {"": [0, 0, 0]})
        after = timers.Snapshot(2, 150_000, 100.0, 200.0, spent)
        shares = layers.shares(before, after, 10)
        self.assertEqual(shares[timers.SESSION], (50_000 - 10 * 100 - 20 * 200) / 10_000)
        self.assertEqual(shares[timers.DECODING], (40_000 - 20 * 100) / 10_000)
        clocks = 10 * 100 + 20 * 200 + 20 * 100 + 10 * 200
        self.assertAlmostEqual(sum(shares.values()), (150_000 - clocks) / 10_000)


class SmokeTests(SynchronousTestCase):
    """A very small table."""

    def test_table(self) -> None:
        """Every layer of the server is found to take time, and the table sums up."""
        file = Path(self.mktemp())
        small = ["--runs", "1", "--senders", "2", "--messages", "200", "--in-flight", "20"]
        status, table, notes = call(layers.main, *small, "--json", str(file))
        self.assertEqual(status, 0, notes)
        self.assertRegex(table, r"sum +[0-9.]+ +[0-9.]+ +[+-][0-9.]+")
        self.assertRegex(table, r"measured without clocks +[0-9.]+ +[0-9.]+ ")
        means = json.loads(file.read_text())["layers"]["20 in flight, CPU us"]
        for layer in set(timers.CHAT.values()) | {timers.SQL_MESSAGES, timers.SQL_RECEIPTS, timers.DISK}:
            self.assertNotEqual(means[layer]["chat"], 0, layer)
        for layer in set(timers.BARE_LOOP.values()) | {timers.SQL_MESSAGES, timers.SQL_RECEIPTS}:
            self.assertNotEqual(means[layer]["bare loop"], 0, layer)
