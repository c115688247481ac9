"""Tests for L{bench.ledgers} and L{bench.curves}: what has grown is as sound as what was sent."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import curves, ledgers, load
from bench.run import CHAT, started
from chat.admin import audit
from tests.test_bench import call


class LedgerTests(SynchronousTestCase):
    """Accounts and messages that no client has sent."""

    def test_sound(self) -> None:
        """The audit finds nothing amiss, and those accounts can log in, send and receive."""
        data = Path(self.mktemp())
        status, _, notes = call(ledgers.main, str(data), "--accounts", "6", "--messages", "700")
        self.assertEqual(status, 0, notes)
        self.assertEqual(self.findings(data), [])
        with contextlib.closing(sqlite3.connect(data / "messages.db")) as ledger:
            count, whole = ledger.execute("SELECT count(*), sum(body IS NOT NULL) FROM ledger").fetchone()
        self.assertEqual((count, whole), (701, 701))
        with started(CHAT, data) as server:
            crowd = load.Crowd(server.target, 3)
            self.assertEqual([recipient.waiting for recipient in crowd.recipients], [0, 0, 0])
            crowd.pipelined(5, 2)
            crowd.check()
            crowd.close()
        self.assertEqual(self.findings(data), [])

    def findings(self, data: Path) -> list[str]:
        """What C{chatctl audit} finds."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            report = audit.audit(data)
        return list(report.findings)

    def test_there(self) -> None:
        """A folder that is there already is left alone."""
        data = Path(self.mktemp())
        data.mkdir()
        status, _, notes = call(ledgers.main, str(data))
        self.assertEqual(status, 2)
        self.assertIn("is there already", notes)
        self.assertEqual(list(data.iterdir()), [])


class CurveTests(SynchronousTestCase):
    """A very small curve of each kind."""

    def test_points(self) -> None:
        """Every curve has its points, of both servers where both can be measured."""
        self.patch(curves, "PAIRS", 2)
        file = Path(self.mktemp())
        small = ["--runs", "1", "--most", "10", "--messages", "40", "--json", str(file)]
        status, tables, notes = call(curves.main, *small)
        self.assertEqual(status, 0, notes)
        points = {curve["title"]: curve["points"] for curve in json.loads(file.read_text())["curves"]}
        for (title, *_), xs, servers in (
            (curves.BUSY, [10], ["bare loop", "chat"]),
            (curves.AMONG_IDLE, [10], ["bare loop", "chat"]),
            (curves.LEDGER, [0], ["bare loop", "chat"]),
            (curves.LEDGER_AWAY, [0], ["bare loop", "chat"]),
            (curves.START, [0], ["chat", "chat, CPU of it"]),
            (curves.START_COLD, [0], ["chat", "chat, CPU of it"]),
            (curves.AMONG_ACCOUNTS, [10], ["bare loop", "chat"]),
            (curves.ACCOUNTS, [10], ["bare loop", "chat"]),
        ):
            self.assertEqual(list(points[title]), servers)
            for line in points[title].values():
                self.assertEqual([x for x, _ in line], xs)
                self.assertGreater(line[0][1], 0)
            self.assertIn(title, tables)

    def test_median(self) -> None:
        """A point is the median of its runs; what grows is in order, however it was measured."""
        made = curves.Curves()
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            for x, values in ((100, [9.0, 1.0, 2.0]), (10, [3.0])):
                for y in values:
                    made.add(curves.BUSY, "chat", x, y)
        (curve,) = made.curves()
        self.assertEqual(curve.points, {"chat": [(10, 3.0), (100, 2.0)]})

    def test_usage(self) -> None:
        """A curve that does not exist is said."""
        status, _, notes = call(curves.main, "sideways")
        self.assertEqual(status, 2)
        self.assertIn("no such curve: sideways", notes)
