"""What asks a server in memory how it is, as a monitor does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from chat import service
from chat.health import vitals
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
