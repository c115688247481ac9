"""Tests for what is told of a server that runs: C{/metrics}, C{/health}, and what stands behind them."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code
from chat.health import gauges
from chat.health.gauges import Histogram
from chat.health.vitals import PATIENCE
from chat.journal import Event
from chat.origin import Origin
from chat.web.numbers import Numbers
from tests.daemon import ROOT
from tests.metrics import MetricsCase


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

    def test_broken(self) -> None:
        """An error in telling them is told as one, and logged."""
        self.open()
        self.patch(Numbers, "written", None)
        self.assertEqual(self.ask("metrics").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

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

    def test_buffered(self) -> None:
        """What lies here for a client that does not read counts until it is gone."""
        self.open()
        self.assertEqual(self.value("chat_buffered_bytes"), 0)
        place = self.vitals.crowd.enter(Origin("192.0.2.7", "192.0.2.7"))
        place.weigh(300_000, place.leave)
        self.assertEqual(self.value("chat_buffered_bytes"), 300_000)
        place.leave()
        self.assertEqual(self.value("chat_buffered_bytes"), 0)

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
        self.assertEqual(self.value("chat_commit_operations_count"), before + 1)
        self.assertEqual(self.value("chat_commit_seconds_count"), before + 1)
        self.assertGreater(self.value("chat_commit_seconds_sum"), 0)
        self.ask("health")  # who only reads commits nothing
        self.assertEqual(self.value("chat_commit_seconds_count"), before + 1)
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
