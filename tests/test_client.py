"""Tests for the client library: cut connections, addresses and codes."""

from __future__ import annotations

from functools import partial
from typing import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chat.client import (
    Client,
    Fate,
    Refused,
    endpoint_from,
)
from chat.errors import Code
from chat.messages import (
    Accepted,
)
from chat.wire import Codec
from tests.memory_server import ClientTests


class CutTests(ClientTests):
    """The promise: whatever breaks, nothing is lost and nothing is doubled."""

    def conversation(self, cuts: set[int]) -> int:
        """Two clients write to each other while connections break; the steps it took."""
        self.setUp()
        self.server.cuts = cuts
        got: dict[str, list[str]] = {"alice": [], "bob": []}
        clients = {
            name: self.client(
                name,
                password,
                on_message=lambda message, name=name: got[name].append(message.body),
            )
            for name, password in self.server.accounts.items()
        }
        sent: dict[str, list[Deferred[Accepted]]] = {"alice": [], "bob": []}
        fates: list[Deferred[Fate]] = []

        def accepted(client: Client, answer: Accepted) -> Accepted:
            fates.append(client.delivered(answer.id))
            return answer

        for number in range(3):
            for name, other in (("alice", "bob"), ("bob", "alice")):
                client = clients[name]
                each = client.send(other, f"{name} {number}", receipt=True)
                each.addCallback(partial(accepted, client))
                sent[name].append(each)
            if number == 0:
                for client in clients.values():
                    client.start()
            self.flush()
        nowhere = clients["alice"].send("nobody", "alice lost")
        nowhere.addCallback(partial(accepted, clients["alice"]))
        self.run_for(90, 1)
        context = f"cuts at {sorted(cuts)}"
        self.assertEqual(got["bob"], ["alice 0", "alice 1", "alice 2"], context)
        self.assertEqual(sorted(got["alice"]), ["alice lost", "bob 0", "bob 1", "bob 2"], context)
        self.assertEqual(len(self.server.ledger), 7, context)
        ids = [self.successResultOf(each).id for name in sent for each in sent[name]]
        ids.append(self.successResultOf(nowhere).id)
        self.assertEqual(sorted(ids), [1, 2, 3, 4, 5, 6, 7], context)
        states = [self.successResultOf(fate).state for fate in fates]
        self.assertEqual(sorted(states), ["delivered"] * 6 + ["returned"], context)
        self.assertTrue(all(s.gone or s.state == "delivered" for s in self.server.ledger.values()), context)
        self.assertEqual([client.unaccepted for client in clients.values()], [0, 0], context)
        return self.server.step

    def every_cut(self) -> Iterator[set[int]]:
        """One cut at each step, and pairs of cuts close together and far apart."""
        steps = self.conversation(set())
        self.assertGreater(steps, 40)
        for step in range(1, steps + 1):
            yield {step}
            yield {step, step + 1, step + 2}
            yield {step, step + 7, step + 19}

    def test_cut_anywhere(self) -> None:
        """Connections that break at any frame lose nothing and double nothing."""
        for cuts in self.every_cut():
            self.conversation(cuts)


class CutDerTests(CutTests):
    """The same over the other codec."""

    codec = Codec.DER


class AddressTests(SynchronousTestCase):
    """Where the server is, in a person's words."""

    def target(self, address: str) -> tuple[str, object]:
        """What a connection to this address would open."""
        reactor = MemoryReactorClock()
        endpoint = endpoint_from(reactor, address)
        return type(endpoint).__name__, vars(endpoint)

    def test_host_and_port(self) -> None:
        """HOST:PORT is a host's name or address and a port."""
        for address, host in (
            ("localhost:5311", "localhost"),
            ("127.0.0.1:5311", "127.0.0.1"),
            ("[::1]:5311", "::1"),
        ):
            name, parts = self.target(address)
            self.assertEqual(name, "HostnameEndpoint")
            self.assertEqual(parts["_port"], 5311)  # type: ignore[index]
            self.assertIn(host, parts["_hostText"])  # type: ignore[index]

    def test_unix(self) -> None:
        """What follows C{unix:} is the path as it is."""
        name, parts = self.target("unix:/var/run/chat:1.sock")
        self.assertEqual((name, parts["_path"]), ("UNIXClientEndpoint", "/var/run/chat:1.sock"))  # type: ignore[index]

    def test_twisted(self) -> None:
        """Twisted's own endpoint strings are taken, too."""
        self.assertEqual(self.target("tcp:localhost:5311")[0], "TCP4ClientEndpoint")
        self.assertEqual(self.target("unix:path=/x:timeout=5")[0], "UNIXClientEndpoint")

    def test_refused(self) -> None:
        """What is no address is refused with the reason."""
        for address in ("", "somewhere", "host:0", "host:70000", "unix:", "a b:1", "nonsense:1:2", "tls://"):
            with self.assertRaises(ValueError, msg=address) as caught:
                endpoint_from(MemoryReactorClock(), address)
            self.assertIn(repr(address), str(caught.exception))


class CodeTests(SynchronousTestCase):
    """The client's errors."""

    def test_codes_are_plain_text(self) -> None:
        """A code reads like the code on the wire, whichever side made it."""
        self.assertEqual(Refused(Code.TOO_LARGE.value, "Too large.").code, "too-large")
        self.assertEqual(str(Refused("too-large", "Too large.")), "Too large. (too-large)")
