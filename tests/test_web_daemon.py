"""The web door of the real daemon: real sockets, real TLS, and a real stop."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
from http.client import HTTPConnection, HTTPSConnection
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.conformance.wires import Address, parse_address
from chat.wire import Codec
from tests.daemon import PATIENCE, Caller, Daemon, trusting

LOCAL = "tcp:0:interface=127.0.0.1"


class WebTestCase(SynchronousTestCase):
    """A daemon with a web door."""

    def start(self, *options: str) -> tuple[Daemon, Address]:
        """It, and where its WebSocket is."""
        daemon = Daemon(self)
        daemon.start("--web", LOCAL, *options)
        ((kind, place),) = [door for door in daemon.doors if door[0] == "web"]
        self.assertEqual(kind, "web")
        scheme = "wss" if place in daemon.encrypted else "ws"
        return daemon, parse_address(f"{scheme}://{place}/socket")

    def caller(self, address: Address) -> Caller:
        """A client that talks through the WebSocket and has heard the greeting."""
        wire: Any = address.open(PATIENCE)
        self.addCleanup(wire.close)
        caller = Caller(wire, Codec.JSON)
        caller.connection.settimeout(PATIENCE)
        caller.expect("version", "username")
        return caller

    def user(self, address: Address, name: str) -> Caller:
        """One that is logged in, to a new account."""
        caller = self.caller(address)
        caller.say_login(name)
        caller.expect("new-password", "created", "username")
        caller.say_login(name)
        caller.expect("password", "welcome")
        return caller


class PlainTests(WebTestCase):
    """On loopback."""

    def test_all(self) -> None:
        """The page is there for curl, people talk, no request is logged, and all of it stops in time."""
        daemon, address = self.start()
        place = f"http://{address.host}:{address.port}"

        def curl(*arguments: str, sent: str = "") -> str:
            command = ["curl", "-sS", "--max-time", "30", *arguments]
            done = subprocess.run(command, input=sent, capture_output=True, text=True, check=True)
            return done.stdout

        page = curl(f"{place}/")
        self.assertIn("<!DOCTYPE html>", page)
        self.assertEqual(curl("--compressed", f"{place}/?secret-question"), page)
        self.assertIn("not-found", curl("-u", "alice:secret-password", f"{place}/secret-path"))
        too_large = curl("-w", "%{http_code}", "--data-binary", "@-", f"{place}/to/bob", sent="x" * 600_000)
        self.assertTrue(too_large.endswith("413"), too_large)

        alice, bob = self.user(address, "alice"), self.user(address, "bob")
        alice.send("bob", "h\u00e9")
        alice.expect("accepted")
        (message,) = bob.expect("message")
        self.assertEqual(message["body"], "h\u00e9")

        idle = HTTPConnection(address.host, address.port, timeout=PATIENCE)
        idle.request("HEAD", "/")
        idle.getresponse().read()
        self.addCleanup(idle.close)
        half = socket.create_connection(address[:2], PATIENCE)
        half.sendall(b"GET / HTTP/1.1\r\n")
        self.addCleanup(half.close)

        flooding: Any = address.open(PATIENCE)
        before = daemon.resident()
        _flood(flooding._below)
        self.assertLess(daemon.resident() - before, 8 << 20)

        (heard, _) = daemon.stop(alice, bob)
        flooding.close()
        self.assertEqual([frame.get("code") for frame in heard], ["shutting-down"])
        self.assertIn(b'"shutting-down"', half.makefile("rb").read())
        text = "\n".join(daemon.log)
        for secret in ("secret", "Traceback", "GET", "curl", "Warning"):
            self.assertNotIn(secret, text)


class EncryptedTests(WebTestCase):
    """With TLS."""

    def test_all(self) -> None:
        """The page and the WebSocket are there through TLS, and plaintext is told where to go."""
        daemon, address = self.start("--tls", "--json", LOCAL)
        context = trusting()
        context.set_alpn_protocols(["h2", "http/1.1"])
        page = HTTPSConnection(address.host, address.port, context=context, timeout=PATIENCE)
        page.connect()
        connection: Any = page.sock
        self.assertEqual(connection.selected_alpn_protocol(), "http/1.1")
        page.request("GET", "/")
        self.assertIn(b"<!DOCTYPE html>", page.getresponse().read())
        page.close()

        plain = HTTPConnection(address.host, address.port, timeout=PATIENCE)
        plain.request("GET", "/")
        response = plain.getresponse()
        self.assertEqual(response.status, 400)
        self.assertEqual(json.loads(response.read())["code"], "tls-needed")
        plain.close()

        for kind, protocol in (("web", "chat/json"), ("json", "http/1.1")):
            context = trusting()
            context.set_alpn_protocols([protocol])
            with self.assertRaises(ssl.SSLError):
                where = next(place for door, place in daemon.doors if door == kind)
                context.wrap_socket(daemon.reach(where))

        alice, bob = self.user(address, "alice"), daemon.user("bob")
        alice.send("bob", "x" * 60_000)
        alice.expect("accepted")
        bob.expect("message")
        before = daemon.resident()
        flooding: Any = address.open(PATIENCE)
        _flood(flooding._below)
        self.assertLess(daemon.resident() - before, 8 << 20)
        flooding.close()
        (heard,) = daemon.stop(alice)
        self.assertEqual([frame.get("code") for frame in heard], ["shutting-down"])


def _flood(connection: socket.socket) -> None:
    """Send pings for as long as the server takes them, but no more than 64 MiB."""
    pings = (bytes([0x89, 0x80 | 125]) + struct.pack("!I", 0) + b"x" * 125) * 1000
    connection.settimeout(1)
    try:
        for _ in range((64 << 20) // len(pings)):
            connection.sendall(pings)
    except TimeoutError:
        return
    raise AssertionError("the server has taken 64 MiB of pings")
