"""Tests for L{chat.health.vitals}: what C{/health} says is wrong."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timezone

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from chat.health import vitals
from chat.health.gauges import Census
from chat.health.rounds import Rounds
from chat.health.vitals import PATIENCE
from chat.store.fates import EVERY
from chat.store.files import path
from chat.store.volumes import Volumes
from tests.metrics import MetricsCase
from tests.network import START


class HealthTests(MetricsCase):
    """C{/health} is green when all is well, and red as soon as something is not."""

    def test_ok(self) -> None:
        """All is well."""
        self.open()
        self.assertEqual(self.problems("ok"), {})
        asked = self.ask("health")
        self.assertEqual(asked.header("Content-Type"), "application/json")
        self.assertEqual(self.value("chat_healthy"), 1)

    def test_everybody(self) -> None:
        """Others are told whether, but not what; with C{--metrics-open} that, too."""
        self.open()
        self.patch(vitals.Vitals, "problems", lambda *_: [vitals.Problem("database", "It is gone.")])
        for more in ({"address": IPv4Address("TCP", "192.0.2.1", 1)}, {"X_Forwarded_For": "192.0.2.1"}):
            asked = self.ask("health", **more)
            self.assertEqual((asked.status, json.loads(asked.body)), (503, {"status": "failing"}))
        self.assertEqual(self.problems(), {"database": "It is gone."})

    def test_open(self) -> None:
        """C{--metrics-open} shows everybody all there is."""
        self.open(metrics_open=True)
        other = IPv4Address("TCP", "192.0.2.1", 1)
        self.assertEqual(json.loads(self.ask("health", address=other).body), {"status": "ok", "problems": []})
        self.assertEqual(self.ask("metrics", address=other, host="chat.example").status, 200)

    def test_head(self) -> None:
        """Who wants the status alone asks for it alone; nothing can be written there."""
        self.open()
        asked = self.ask("health", method="HEAD")
        self.assertEqual((asked.status, asked.body), (200, b""))
        self.assertEqual(self.ask("health", method="POST", Content_Length="0").status, 405)

    def test_database(self) -> None:
        """A database that does not answer is waited for so long and no longer; it is asked once meanwhile."""
        self.open()
        self.pools[-1].hold()
        asked = [self.ask("health") for _ in range(3)]
        self.assertEqual([each.status for each in asked], [0] * 3)
        self.reactor.advance(PATIENCE)
        self.assertEqual([each.status for each in asked], [503] * 3)
        self.assertIn("does not answer within 5 seconds", asked[0].body.decode())
        metrics = self.ask("metrics")
        self.reactor.advance(PATIENCE)
        self.assertIn(b"\nchat_database_up 0.0\n", metrics.body)
        self.assertIn(b"\nchat_healthy 0.0\n", metrics.body)
        self.assertNotIn(b"\nchat_messages{", metrics.body)
        self.pools[-1].release()

    def test_databaseFails(self) -> None:
        """So is one that answers with an error."""
        self.open()

        async def broken() -> Census | None:
            raise sqlite3.OperationalError("disk I/O error")

        self.patch(self.vitals.store, "census", broken)
        self.assertEqual(list(self.problems()), ["database"])
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 1)

    def test_lateAnswer(self) -> None:
        """An answer that comes when nobody waits any more is harmless; the next question is asked anew."""
        self.open()
        answers: list[Deferred[Census | None]] = []

        def census() -> Deferred[Census | None]:
            answers.append(Deferred())
            return answers[-1]

        self.patch(self.vitals.store, "census", census)
        first, second = self.ask("health"), self.ask("health")
        first.lose()
        self.reactor.advance(PATIENCE)
        self.assertEqual((first.status, second.status, len(answers)), (0, 503, 1))
        third = self.ask("health")
        answers[0].callback(None)
        self.assertEqual((third.status, len(answers)), (200, 1))
        self.ask("health")
        self.assertEqual(len(answers), 2)
        answers[1].callback(None)

    def test_unaccounted(self) -> None:
        """A message that is gone from the file of a running server is missed by the next count."""
        self.open()
        wire = self.log_in("alice")
        for _ in range(3):
            self.send(wire, "alice")
        self.reactor.pump([0, EVERY, 0, 0])
        self.assertEqual((self.value("chat_unaccounted_messages"), self.problems("ok")), (0, {}))
        with sqlite3.connect(path(self.data, "messages")) as connection:
            connection.execute("DELETE FROM ledger WHERE id = 2")
        connection.close()
        self.assertEqual(self.value("chat_unaccounted_messages"), 0)
        self.reactor.pump([0, EVERY, 0, 0])
        self.assertEqual(self.value("chat_unaccounted_messages"), 1)
        self.assertEqual(self.value("chat_messages", fate="waiting"), 2)
        self.assertEqual(
            self.problems(), {"messages": "1 of 3 messages are unaccounted for: run chatctl audit."}
        )

    def test_late(self) -> None:
        """What was not done for three of its periods is named, with the last time that it was."""
        self.open(fold=1)
        self.pools[-1].room = 0  # nothing that is written

        async def broken(*_: object) -> None:
            raise ValueError

        self.patch(self.vitals.store, "recount", broken)
        self.reactor.advance(EVERY)
        self.reactor.advance(EVERY)
        self.reactor.advance(EVERY - 600)
        self.assertEqual(self.problems("ok"), {})
        self.reactor.advance(601)
        self.reactor.advance(0)
        detail = self.problems()["count"]
        self.assertEqual(
            detail,
            "count: not since 2026-11-22T21:07:00Z done; it should be done every 3600 seconds:"
            " look at the log.",
        )
        self.assertEqual(self.value("chat_task_late", task="count"), 1)
        self.assertEqual(self.value("chat_task_late", task="retention"), 0)
        self.assertGreaterEqual(self.value("chat_task_failures_total", task="count"), 3)
        self.assertEqual(self.value("chat_task_last_success_timestamp_seconds", task="count"), START)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ValueError)), 3)

    def test_index(self) -> None:
        """How far the index lags behind is told, and that it cannot go on."""
        self.open()
        self.assertEqual(self.value("chat_unindexed_messages"), 0)
        self.assertEqual(self.value("chat_task_late", task="index"), 0)
        self.started._data.indexing.wake(7)
        self.assertEqual(self.value("chat_unindexed_messages"), 7)

        def broken(*_: object) -> None:
            raise ValueError("broken")

        self.patch(Volumes, "extend", broken)
        last = self.reactor.seconds()
        self.reactor.pump([1.0] * 200)
        self.assertIn("index: not since", self.problems()["index"])
        self.assertEqual(self.value("chat_task_late", task="index"), 1)
        self.assertGreater(self.value("chat_task_failures_total", task="index"), 10)
        self.assertEqual(self.value("chat_task_last_success_timestamp_seconds", task="index"), last)
        self.assertGreater(len(self.flushLoggedErrors(ValueError)), 10)

    def test_never(self) -> None:
        """What was never done is said to be."""
        self.open()
        never = Rounds("sweeping", 1, self.reactor, lambda: Deferred(), first=0)
        never.start()
        self.addCleanup(never.stop)
        self.patch(self.vitals, "tasks", lambda: [never])
        self.reactor.advance(3.5)
        self.assertIn("sweeping: never done; it should be done every 1 seconds", self.problems()["sweeping"])
        self.assertEqual(self.value("chat_task_last_success_timestamp_seconds", task="sweeping"), 0)

    def test_disk(self) -> None:
        """When only the reserve is left the server goes on, but is not quite well."""
        self.open(reserve_space=1 << 60)
        self.assertIn(f"{1 << 60} are kept in reserve: no new messages", self.problems("degraded")["disk"])
        self.assertEqual(self.value("chat_disk_reserve_bytes"), 1 << 60)
        self.assertEqual(self.value("chat_healthy"), 0)

    def test_certificate(self) -> None:
        """A certificate that has expired while the server ran."""
        self.open(tls=True)
        expires = self.vitals.expires()
        assert expires is not None
        self.patch(self.vitals, "expires", lambda: datetime.fromtimestamp(START - 1, timezone.utc))
        self.assertEqual(
            self.vitals.problems(vitals.Reading(True, None)),
            [vitals.Problem("certificate", "The TLS certificate expired on 2026-11-22T21:06:59Z: renew it.")],
        )
