"""The client library against the real server, over sockets that break at any byte."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from functools import partial
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chat.client import Backoff, Client, Fate
from chat.messages import Accepted, Message
from chat.wire import Codec
from tests.daemon import PATIENCE
from tests.line_case import ROOT, shared_daemon

reactor: Any = global_reactor


class Half(Protocol):
    """One side of a connection that passes through L{BreakingProxy}."""

    transport: Any

    def __init__(self, proxy: BreakingProxy, other: Half | None = None) -> None:
        self._proxy = proxy
        self.other = other
        self._early = b""
        self.left: list[int] = other.left if other else [proxy.next_length()]

    def connectionMade(self) -> None:
        """Reach the server for whoever has reached us."""
        if self.other is None:
            self._proxy.server.connect(Factory.forProtocol(self._far_half)).addErrback(
                lambda failure: self.transport.abortConnection()
            )
        else:
            self.other.other = self
            self.transport.write(self.other._early)

    def _far_half(self) -> Half:
        return Half(self._proxy, self)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on, until the connection has had as many as it may."""
        passed = data[: self.left[0]]
        self.left[0] -= len(passed)
        if self.other is None:
            self._early += passed
        else:
            self.other.transport.write(passed)
        if len(passed) < len(data):
            self._proxy.broken += 1
            self.transport.loseConnection()
            if self.other is not None:
                self.other.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take the other side along."""
        if self.other is not None:
            self.other.transport.loseConnection()


class BreakingProxy(Factory):
    """Passes connections on to the server, and breaks each after some number of bytes.

    @ivar broken: how many it has broken.
    """

    noisy = False

    def __init__(self, address: str, lengths: list[int]) -> None:
        host, port = address.rsplit(":", 1)
        self.server = TCP4ClientEndpoint(reactor, host, int(port))
        self.broken = 0
        self._lengths = iter(lengths)

    def next_length(self) -> int:
        """How many bytes the next connection may carry."""
        return next(self._lengths, sys.maxsize)

    def buildProtocol(self, addr: IAddress | None) -> Half:
        """See L{Factory.buildProtocol}."""
        return Half(self)


class BreakingTests(TestCase):
    """Real sockets that break; nothing lost, nothing doubled."""

    timeout = 300

    async def _talk(self, codec: Codec) -> None:
        """Two clients write to each other while their connections break again and again."""
        daemon = shared_daemon()
        chance = random.Random(codec.value)
        lengths = [chance.randrange(0, 5000) for _ in range(40)]
        proxy = BreakingProxy(daemon.addresses[codec.value], lengths)
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(proxy)
        address = f"127.0.0.1:{port.getHost().port}"
        got: dict[str, list[str]] = {"ann": [], "ben": []}

        def keep(bodies: list[str], message: Message) -> None:
            bodies.append(message.body)

        clients = {
            name: Client(
                reactor,
                address,
                f"{name}-{codec.value}",
                "correct horse",
                codec=codec,
                create=True,
                on_message=partial(keep, got[name]),
                backoff=Backoff(first=0.01, cap=0.02),
            )
            for name in got
        }
        try:
            await gatherResults([client.start() for client in clients.values()])
            fates: list[Deferred[Fate]] = []
            for number in range(150):
                for name, other in (("ann", "ben"), ("ben", "ann")):
                    client = clients[name]
                    sent = client.send(f"{other}-{codec.value}", str(number), receipt=True)

                    def accepted(answer: Accepted, client: Client = client) -> Deferred[Fate]:
                        return client.delivered(answer.id)

                    fates.append(sent.addCallback(accepted))
            states = [fate.state for fate in await gatherResults(fates)]
        finally:
            for client in clients.values():
                await client.close()
            await port.stopListening()
        self.assertEqual(states, ["delivered"] * 300)
        numbers = [str(number) for number in range(150)]
        self.assertEqual(got, {"ann": numbers, "ben": numbers})
        self.assertGreater(proxy.broken, 20)

    def test_json(self) -> Deferred[None]:
        """In JSON, each message arrives once, in order, and its sender is told."""
        return Deferred.fromCoroutine(self._talk(Codec.JSON))

    def test_der(self) -> Deferred[None]:
        """In DER, each message arrives once, in order, and its sender is told."""
        return Deferred.fromCoroutine(self._talk(Codec.DER))


class ExampleTests(SynchronousTestCase):
    """The example of the documentation."""

    def test_runs(self) -> None:
        """The program in docs/client.rst does what is printed below it."""
        text = (ROOT / "docs" / "client.rst").read_text("utf-8")
        blocks = re.findall(r"\n\.\. code-block:: (\w+)\n\n((?:    .*\n|\n)+)", text)
        programs = [body for kind, body in blocks if kind == "python"]
        printed = re.search(r"It prints::\n\n((?:    .*\n|\n)+)", text)
        assert printed
        program = re.sub("^    ", "", programs[0], flags=re.M)
        daemon = shared_daemon()
        done = subprocess.run(
            [sys.executable, "-c", program, daemon.addresses["json"]],
            env=daemon.environment,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        expected = re.sub("^    ", "", printed[1], flags=re.M).strip()
        # The number of the message depends on what the other tests have sent.
        self.assertEqual(re.sub(r"message \d+", "message 1", done.stdout).strip(), expected, done.stderr)
