"""Tests for what is told of a server that runs: C{/metrics}, C{/health}, and what stands behind them."""

from __future__ import annotations

import json
import re
import sqlite3
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chat import service
from chat.errors import Code
from chat.health import gauges, vitals
from chat.health.gauges import Census, Histogram
from chat.health.rounds import Rounds
from chat.health.vitals import PATIENCE
from chat.journal import Event
from chat.store.fates import EVERY
from chat.store.files import path
from chat.web.metrics import Numbers
from tests.daemon import ROOT
from tests.network import START
from tests.test_service import ServiceTestCase
from tests.world import WorldPool

#: The web door that is asked.
WEB = "tcp:5380:interface=127.0.0.1"
HERE = IPv4Address("TCP", "127.0.0.1", 40_000)


class Asked:
    """A request that was made, and what is answered to it so far."""

    def __init__(self, factory: Any, address: Any, request: bytes) -> None:
        self.transport = StringTransport(peerAddress=address)
        self.protocol = factory.buildProtocol(address)
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(request)
        self._lost = False

    @property
    def status(self) -> int:
        """The status of the answer; 0: there is none yet."""
        answer = self.transport.value()
        return int(answer.split(b" ", 2)[1]) if answer else 0

    @property
    def body(self) -> bytes:
        """What follows its headers."""
        octets: bytes = self.transport.value()
        return octets.partition(b"\r\n\r\n")[2]

    def header(self, name: str) -> str:
        """One of its headers."""
        found = re.search(rf"(?im)^{name}: (.*?)\r$", self.transport.value().decode())
        assert found is not None, self.transport.value()
        return found[1]

    def lose(self) -> None:
        """Who has asked is gone."""
        if not self._lost:
            self._lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class HeldPool(WorldPool):
    """A database that can be slow.

    @ivar held: what waits for L{release}; C{None}: nothing has to.
    """

    held: list[Callable[[], object]] | None = None

    def runInteraction(self, interaction: Callable[..., Any], *args: Any, **kw: Any) -> Deferred[Any]:
        """Now, or when it is released."""
        if self.held is None:
            return super().runInteraction(interaction, *args, **kw)
        result: Deferred[Any] = Deferred()
        run = super().runInteraction
        self.held.append(lambda: run(interaction, *args, **kw).chainDeferred(result))
        return result

    def hold(self) -> None:
        """Be slow from now on."""
        self.held = []

    def release(self) -> None:
        """Do everything that waits, and be slow no more."""
        held, self.held = self.held, None
        for work in held or []:
            work()


class MetricsCase(ServiceTestCase):
    """A server with a web door and one for programs, whose database can be slow."""

    def setUp(self) -> None:
        """Nothing is started yet."""
        super().setUp()
        self.pools: list[HeldPool] = []

        def pool(reactor: object, data: Path, opener: Any) -> HeldPool:
            self.pools.append(HeldPool(data, opener))
            return self.pools[-1]

        self.patch(service, "threaded_pool", pool)

    def open(self, **settings: Any) -> None:
        """Start it; its messages are counted."""
        self.reactor.tcpServers.clear()
        self.started = self.start(("web", WEB), ("json", "tcp:5311:interface=127.0.0.1"), **settings)
        self.reactor.pump([0, 0, 0])

    @property
    def vitals(self) -> vitals.Vitals:
        """What knows of it."""
        return self.started._vitals

    def ask(
        self,
        part: str,
        *,
        address: Any = HERE,
        method: str = "GET",
        host: str = "127.0.0.1:5380",
        version: str = "1.1",
        **more: str,
    ) -> Asked:
        """Ask for this, from there, under this name and with more headers."""
        lines = [f"{method} /{part} HTTP/{version}", f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        asked = Asked(self.reactor.tcpServers[0][1], address, "\r\n".join([*lines, "", ""]).encode())
        self.addCleanup(asked.lose)
        self.reactor.pump([0, 0])
        return asked

    def metrics(self) -> dict[str, Metric]:
        """All metrics, by their names."""
        asked = self.ask("metrics")
        asked.lose()
        self.assertEqual(asked.status, 200)
        return {each.name: each for each in text_string_to_metric_families(asked.body.decode())}

    def value(self, name: str, **labels: str) -> float:
        """One value."""
        for family in self.metrics().values():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        raise AssertionError(f"{name} {labels} is not there")

    def problems(self, status: str = "failing") -> dict[str, str]:
        """What is wrong, by the part."""
        asked = self.ask("health")
        answer = json.loads(asked.body)
        self.assertEqual((asked.status, answer["status"]), (200 if status == "ok" else 503, status))
        return {each["part"]: each["detail"] for each in answer["problems"]}

    def log_in(self, name: str) -> Any:
        """Somebody who is logged in at the door for programs."""
        wire = self.connect(1)
        self.addCleanup(wire.lose)
        wire.read()
        for field, value in (("username", name), ("password", "correct horse")) * 2:
            said = self.say(
                wire, json.dumps({"type": "login", "data": {"field": field, "value": value}}).encode()
            )
            if b"welcome" in said:
                break
        self.reactor.advance(0)
        return wire

    def send(self, wire: Any, recipient: str) -> bytes:
        """A message, and what is answered."""
        line = {"type": "message", "data": {"recipient": recipient, "body": "hi"}}
        return self.say(wire, json.dumps(line).encode())


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

    def test_never(self) -> None:
        """What was never done is said to be."""
        self.open()
        never = Rounds("sweeping", 1, self.reactor, lambda: Deferred(), first=0)
        never.start()
        self.addCleanup(never.stop)
        self.patch(self.vitals, "rounds", lambda: [never])
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


class WhoMayAskTests(MetricsCase):
    """The numbers are for the operator."""

    def assertStatus(self, status: int, **how: Any) -> None:
        """Asked for so, they are shown or not."""
        asked = self.ask("metrics", **how)
        asked.lose()
        self.assertEqual(asked.status, status, how)

    def test_here(self) -> None:
        """Programs on this machine, by whatever it is called."""
        self.open()
        for host in ("127.0.0.1:5380", "127.0.0.2", "localhost:5380", "LOCALHOST", "[::1]:5380"):
            self.assertStatus(200, host=host)
        self.assertStatus(200, address=IPv6Address("TCP", "::1", 1))
        self.assertStatus(200, address=UNIXAddress("/run/chat"))

    def test_others(self) -> None:
        """Nobody else; also not who says so, nor by way of a proxy, nor of a page whose name leads here."""
        self.open()
        self.assertStatus(403, address=IPv4Address("TCP", "192.0.2.1", 1))
        self.assertStatus(403, address=IPv4Address("TCP", "192.0.2.1", 1), X_Forwarded_For="127.0.0.1")
        for name in ("X_Forwarded_For", "Forwarded", "Via"):
            self.assertStatus(403, **{name: "127.0.0.1"})
        for host in (
            "chat.example",
            "127.0.0.1.example",
            "192.0.2.1:5380",
            "[2001:db8::1]",
            "[",
            "::1",
            ":80",
            "",
            "\xff",
        ):
            self.assertStatus(403, host=host)
        refused = self.ask("metrics", host="chat.example")
        self.assertIn("--metrics-open", json.loads(refused.body)["detail"])

    def test_old(self) -> None:
        """HTTP/1.0 is not answered: it is what nginx speaks to a server if it is told nothing else."""
        self.open()
        self.assertStatus(403, version="1.0")
        self.assertEqual(json.loads(self.ask("health", version="1.0").body), {"status": "ok"})

    def test_proxy(self) -> None:
        """Where the operator has told of a proxy, or of its page, who asks from here may be brought by it."""
        for settings in (
            {"web_proxies": ("127.0.0.1",)},
            {"web_proxies": ("unix",)},
            {"web_origins": ("https://chat.example",)},
        ):
            self.open(**settings)
            self.assertStatus(403)
            self.assertStatus(403, X_Forwarded_For="127.0.0.1")
            self.assertStatus(403, address=UNIXAddress("/run/chat"), host="localhost")
            health, refused = self.ask("health"), self.ask("metrics")
            self.assertEqual(json.loads(health.body), {"status": "ok"})
            for word in ("--metrics-open", "proxy"):
                self.assertIn(word, json.loads(refused.body)["detail"])
            health.lose()
            refused.lose()
            self.stop(self.started)
        self.open(metrics_open=True, **settings)
        self.assertStatus(200)


class NumbersTests(MetricsCase):
    """The numbers tell what happens."""

    def test_documented(self) -> None:
        """docs/operations.rst names every metric, and no other one."""
        text = (ROOT / "docs" / "operations.rst").read_text("utf-8")
        listed = text.partition(".. metrics:")[2].partition(".. end of the metrics")[0]
        documented = set(re.findall(r"(?m)``(chat_\w+)``(?=.*\n {4})", listed))
        self.open(tls=True)
        told = Numbers(self.vitals)
        reading = self.vitals.read()
        self.reactor.pump([0, 0])
        told.reading = self.successResultOf(reading)
        found = {
            f"{each.name}_{each.type}"
            if each.type == "info"
            else each.name + "_total" * (each.type == "counter")
            for each in told.collect()
        }
        self.assertEqual(documented, found)
        rules = set(re.findall(r"chat_\w+", text.partition("groups:\n")[2].partition("When the server")[0]))
        self.assertEqual({each.removesuffix("_bucket") for each in rules} - documented, set())

    def test_format(self) -> None:
        """In Prometheus' own format, or OpenMetrics for those who ask for it."""
        self.open()
        self.assertIn("text/plain", self.ask("metrics").header("Content-Type"))
        asked = self.ask("metrics", Accept="application/openmetrics-text; version=1.0.0")
        self.assertIn("application/openmetrics-text", asked.header("Content-Type"))
        self.assertTrue(asked.body.endswith(b"# EOF\n"))

    def test_people(self) -> None:
        """Sessions, accounts, connections at each door, and logins."""
        before = gauges.events.copy()
        self.open()
        wires = [self.log_in(name) for name in ("alice", "alice", "bob")]
        self.assertEqual(self.value("chat_sessions"), 3)
        self.assertEqual(self.value("chat_accounts_online"), 2)
        doors = {"door": "json", "address": "127.0.0.1:5311", "encryption": "local"}
        self.assertEqual(self.value("chat_door_connections", **doors), 3)
        self.assertEqual(self.value("chat_door_connections", door="web"), 1)  # the one that asks
        logins = self.value("chat_account_events_total", event="logged-in")
        self.assertEqual(logins - before["logged-in"], 3)
        self.assertEqual(self.value("chat_account_events_total", event="signed-up") - before["signed-up"], 2)
        for wire in wires:
            wire.lose()
        self.assertEqual(self.value("chat_sessions"), 0)

    def test_labels(self) -> None:
        """Every event and every code is there from the start."""
        self.open()
        told = self.metrics()
        events = {sample.labels["event"] for sample in told["chat_account_events"].samples}
        self.assertEqual(events, {event.name.lower().replace("_", "-") for event in Event})
        codes = {sample.labels["code"] for sample in told["chat_refusals"].samples}
        self.assertEqual(codes, {code.value for code in Code})

    def test_refusals(self) -> None:
        """What is refused is counted, wherever it is found out: frame, login, message."""
        self.open()
        before = gauges.refusals.copy()
        wire = self.log_in("alice")
        self.say(wire, b'{"type":"system","data":{"keyword":"nonsense"}}')
        self.say(
            wire, json.dumps({"type": "message", "data": {"recipient": "b", "body": "x" * 70_000}}).encode()
        )
        self.say(wire, b"{")
        for code in ("bad-frame", "too-large", "malformed-frame"):
            self.assertEqual(self.value("chat_refusals_total", code=code) - before[code], 1, code)

    def test_messages(self) -> None:
        """What is accepted, and what becomes of it; the next start finds the same."""
        self.open()
        wire = self.log_in("alice")
        self.send(wire, "alice")
        self.send(wire, "alice")
        self.send(wire, "nobody")
        self.say(wire, b'{"type":"system","data":{"keyword":"received","ids":[1,3]}}')
        for _ in range(2):
            told = {sample.labels["fate"]: sample.value for sample in self.metrics()["chat_messages"].samples}
            self.assertEqual(
                {fate: n for fate, n in told.items() if n}, {"waiting": 1, "delivered": 1, "returned": 1}
            )
            self.assertEqual(self.value("chat_messages_accepted_total"), 3)
            self.assertEqual(self.value("chat_unaccounted_messages"), 0)
            wire.lose()
            self.stop(self.started)
            self.open()

    def test_work(self) -> None:
        """Commits, by size and time; what is under way."""
        self.open()
        wire = self.log_in("alice")
        before = self.value("chat_commit_operations_count")
        self.send(wire, "alice")
        self.assertGreater(self.value("chat_commit_operations_count"), before)
        self.assertGreater(self.value("chat_commit_seconds_sum"), 0)
        self.assertEqual(self.value("chat_sends_under_way"), 0)
        self.pools[-1].hold()
        self.send(wire, "alice")
        self.send(wire, "alice")
        asked = self.ask("metrics")
        self.reactor.advance(PATIENCE)
        self.assertIn(b"\nchat_sends_under_way 2.0\n", asked.body)
        # One send is in the transaction, one waits for the next, as does the question itself.
        self.assertRegex(asked.body, rb'\nchat_queue_length{queue="database"} [2-9]')
        self.pools[-1].release()
        self.reactor.pump([0, 0])
        self.assertEqual(self.value("chat_sends_under_way"), 0)
        self.assertEqual(self.value("chat_messages", fate="waiting"), 3)

    def test_notPlaced(self) -> None:
        """What was refused for lack of room is not under way any more."""
        self.open()
        wire = self.log_in("alice")
        self.pools[-1].room = 0
        self.assertIn(b"storage-full", self.send(wire, "alice"))
        self.assertEqual(self.value("chat_sends_under_way"), 0)
        self.pools[-1].room = None


class HistogramTests(SynchronousTestCase):
    """Counting by size."""

    def test_buckets(self) -> None:
        """A value is in the first bucket it does not exceed, and in all above it."""
        histogram = Histogram((1, 10))
        for value in (0.5, 1, 1.1, 10, 11):
            histogram.note(value)
        self.assertEqual(list(histogram), [(1, 2), (10, 4), (float("inf"), 5)])
        self.assertEqual(histogram.total, 23.6)
