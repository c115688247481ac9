"""Tests for whom a client trusts: the servers it knows."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any
from unittest import skipIf, skipUnless

from filelock import FileLock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chat.client import (
    ChangedServer,
    Client,
    KnownServers,
    KnownServersError,
    PlaintextRefused,
    Trust,
    UnknownServer,
    WrongServer,
    endpoint_from,
    known,
)
from chat.client.address import Host, host_from
from chat.client.known import AUTHORITIES
from chat.client.secure import SecureEndpoint
from chat.client.trust import Shown, claim
from chat.tls.fingerprint import fingerprint, words
from chat.wire import Codec
from tests.secure_case import full

#: Whether the rights of files mean anything: not on Windows.
RIGHTS = os.name == "posix"


ONE, OTHER = b"one certificate", b"another one"


DOUBTS = ("it was signed by nobody but itself",)


class KnownServersTests(SynchronousTestCase):
    """The file of known servers."""

    def setUp(self) -> None:
        """A file that is not there yet."""
        self.path = Path(self.mktemp()) / "chat" / "known_servers"
        self.known = KnownServers(self.path)

    def written(self, text: str) -> None:
        """The file holds this."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, "utf-8")

    def test_nothing_yet(self) -> None:
        """Without a file nothing is known, and asking makes none."""
        self.assertEqual((self.known.marks("a.example:5311"), list(self.known)), ([], []))
        self.assertFalse(self.path.parent.exists())

    def test_learned(self) -> None:
        """What was learned is there for the next program."""
        self.assertEqual(self.known.learn("a.example:5311", fingerprint(ONE)), [fingerprint(ONE)])
        self.known.learn("[2001:db8::1]:5311", AUTHORITIES)
        again = KnownServers(self.path)
        self.assertEqual(
            list(again), [("a.example:5311", fingerprint(ONE)), ("[2001:db8::1]:5311", AUTHORITIES)]
        )
        self.assertEqual(again.marks("a.example:5312"), [])

    def test_learned_meanwhile(self) -> None:
        """What another program has learned first stands."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        self.assertEqual(self.known.learn("a.example:5311", fingerprint(OTHER)), [fingerprint(ONE)])

    @skipUnless(RIGHTS, "the rights of files mean nothing here")
    def test_rights(self) -> None:
        """Nobody else can read or change whom we trust."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.path.parent.stat().st_mode), 0o700)

    def test_comments(self) -> None:
        """What a person has written beside is kept, wherever it stands."""
        text = f"# mine\n\na.example:5311 {fingerprint(ONE)} the one in the cellar\n# end\n"
        self.written(text)
        self.known.learn("b.example:5311", fingerprint(ONE))
        self.assertEqual(self.path.read_text(), f"{text}b.example:5311 {fingerprint(ONE)}\n")
        self.known.replace("b.example:5311", fingerprint(OTHER))
        self.assertEqual(self.path.read_text(), f"{text}b.example:5311 {fingerprint(OTHER)}\n")
        self.assertTrue(self.known.remove("b.example:5311"))
        self.assertEqual(self.path.read_text(), text)
        self.assertFalse(self.known.remove("b.example:5311"))

    def test_written_by_hand(self) -> None:
        """Small letters and a fingerprint without colons are understood, and two lines for one server."""
        digits = fingerprint(ONE).replace("SHA256:", "").replace(":", "").lower()
        self.written(f"A.example:5311 {digits}\na.example:5311 {fingerprint(OTHER)}\n")
        self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE), fingerprint(OTHER)])

    def test_not_understood(self) -> None:
        """A damaged line does not make its server an unknown one: it is named, and nothing is known."""
        self.written(f"# mine\na.example:5311 {fingerprint(ONE)[:-3]}\n")
        error = self.assertRaises(KnownServersError, self.known.marks, "a.example:5311")
        self.assertIn(f"Line 2 of {self.path}", str(error))
        self.assertRaises(KnownServersError, self.known.learn, "a.example:5311", fingerprint(OTHER))

    def test_unreadable(self) -> None:
        """A file that cannot be read, or is no text, is not taken for an empty one."""
        self.path.mkdir(parents=True)
        self.assertIn(
            str(self.path), str(self.assertRaises(KnownServersError, self.known.marks, "a.example:5311"))
        )
        self.path.rmdir()
        self.path.write_bytes(b"\xff\xfe")
        self.assertIn("UTF-8", str(self.assertRaises(KnownServersError, self.known.marks, "a.example:5311")))

    def test_no_folder(self) -> None:
        """Where no file can be made, that is said."""
        blocked = Path(self.mktemp())
        blocked.write_text("")
        error = self.assertRaises(
            KnownServersError, KnownServers(blocked / "known").learn, "a.example:5311", AUTHORITIES
        )
        self.assertIn("cannot be written", str(error))

    def test_whole_or_not_at_all(self) -> None:
        """A change that fails half way leaves the file as it was, and nothing beside it."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        before = self.path.read_bytes()
        self.patch(os, "replace", full)
        error = self.assertRaises(KnownServersError, self.known.remove, "a.example:5311")
        self.assertIn("No space left", str(error))
        self.assertEqual(self.path.read_bytes(), before)
        names = {each.name for each in self.path.parent.iterdir()}
        self.assertEqual(names - {"known_servers.lock"}, {"known_servers"})

    def test_many_at_once(self) -> None:
        """Programs that write at the same time lose nothing of each other's."""

        def learn(number: int) -> None:
            mine = KnownServers(self.path)
            for each in range(5):
                mine.learn(f"{number}.example:{each}", fingerprint(ONE))

        threads = [threading.Thread(target=learn, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(list(self.known)), 30)

    def test_locked(self) -> None:
        """A program that never lets go of the file is not waited for for ever."""
        self.patch(known, "_LOCK_SECONDS", 0.01)
        self.path.parent.mkdir(parents=True)
        with FileLock(f"{self.path}.lock"):
            error = self.assertRaises(KnownServersError, self.known.remove, "a.example:5311")
        self.assertIn("locked", str(error))

    @skipUnless(RIGHTS, "links need rights here")
    def test_link(self) -> None:
        """Where the file is a link, it stays one."""
        self.path.parent.mkdir(parents=True)
        real = (self.path.parent / "elsewhere").absolute()
        self.path.symlink_to(real)
        self.known.learn("a.example:5311", AUTHORITIES)
        self.assertTrue(self.path.is_symlink())
        self.assertIn("a.example", real.read_text())

    @skipIf(os.name == "nt", "another variable has the folder there")
    def test_place(self) -> None:
        """It is below XDG_CONFIG_HOME, if that is a path from the root, else below ~/.config."""
        for config, place in (
            ("/nowhere/mine", "/nowhere/mine/chat/known_servers"),
            ("relative", "/nowhere/me/.config/chat/known_servers"),
            ("", "/nowhere/me/.config/chat/known_servers"),
        ):
            self.patch(os, "environ", {"HOME": "/nowhere/me", "XDG_CONFIG_HOME": config})
            self.assertEqual(KnownServers().path, Path(place))

    def test_homeless(self) -> None:
        """A user without a home is told what to do."""
        self.patch(os, "environ", {})
        self.patch(os.path, "expanduser", lambda path: path)
        self.assertIn("set ", str(self.assertRaises(KnownServersError, KnownServers().marks, "a:1")))


class TrustTests(SynchronousTestCase):
    """Whether a certificate is the right one."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")

    def decide(self, trust: Trust, certificate: bytes, doubts: tuple[str, ...] = DOUBTS) -> None:
        """The server at a.example shows this certificate."""
        trust.decide("a.example:5311", Shown(certificate, doubts))

    def test_unknown(self) -> None:
        """A certificate that nobody vouches for is refused, with its names and what to do, and not kept."""
        trust = Trust(self.known, learn=True)
        error = self.assertRaises(UnknownServer, self.decide, trust, ONE)
        for part in (fingerprint(ONE), words(ONE), *DOUBTS, f"chat trust a.example:5311 {fingerprint(ONE)}"):
            self.assertIn(part, str(error))
        self.assertFalse(self.known.path.exists())

    def test_accepted(self) -> None:
        """Once a person has accepted it, it is the only one that will do, in other programs as well."""
        trust = Trust(self.known, learn=True)
        trust.accept(self.assertRaises(UnknownServer, self.decide, trust, ONE))
        self.decide(trust, ONE)
        self.decide(Trust(self.known), ONE)
        error = self.assertRaises(ChangedServer, self.decide, Trust(self.known, accept_new=True), OTHER)
        for part in (
            fingerprint(ONE),
            fingerprint(OTHER),
            words(OTHER),
            f"chat trust a.example:5311 {fingerprint(OTHER)}",
        ):
            self.assertIn(part, str(error))

    def test_accepted_elsewhere(self) -> None:
        """Two programs whose users accept different servers at the same moment do not both go on."""
        trust = Trust(self.known, learn=True)
        error = self.assertRaises(UnknownServer, self.decide, trust, ONE)
        self.known.learn("a.example:5311", fingerprint(OTHER))
        self.assertRaises(ChangedServer, trust.accept, error)
        self.assertRaises(ChangedServer, self.decide, trust, ONE)

    def test_accept_new(self) -> None:
        """A program may be told to accept what it meets first, and that is all it accepts."""
        trust = Trust(self.known, accept_new=True, learn=True)
        self.decide(trust, ONE)
        self.assertRaises(ChangedServer, self.decide, trust, OTHER)
        self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE)])

    def test_accepted_first_elsewhere(self) -> None:
        """What another program has learned in the same moment counts, not what we meet."""
        trust = Trust(self.known, accept_new=True, learn=True)
        self.patch(self.known, "marks", lambda address: [])
        self.patch(self.known, "learn", lambda address, mark: [fingerprint(OTHER)])
        self.assertRaises(ChangedServer, self.decide, trust, ONE)

    def test_vouched_for(self) -> None:
        """What an authority vouches for is taken, and may be renewed; what none vouches for, no more."""
        trust = Trust(self.known, accept_new=True, learn=True)
        self.decide(trust, ONE, ())
        self.assertEqual(self.known.marks("a.example:5311"), [AUTHORITIES])
        self.decide(trust, OTHER, ())
        error = self.assertRaises(ChangedServer, self.decide, trust, ONE)
        self.assertIn("an authority vouches for", str(error))

    def test_known_before_authorities(self) -> None:
        """Nor does an authority help, where one certificate is known: anybody might have fooled it."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        self.assertRaises(ChangedServer, self.decide, Trust(self.known), OTHER, ())
        self.decide(Trust(self.known), ONE, ())

    def test_named(self) -> None:
        """A certificate that was named is taken, by fingerprint or words, in place of what was known."""
        for name in (fingerprint(ONE), words(ONE)):
            self.known.replace("a.example:5311", fingerprint(OTHER))
            trust = Trust(self.known, expected=claim(name), learn=True)
            self.assertTrue(trust.demanded)
            error = self.assertRaises(WrongServer, self.decide, trust, OTHER, ())
            self.assertIn(name, str(error))
            self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(OTHER)])
            self.decide(trust, ONE)
            self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE)])
            self.assertRaises(ChangedServer, self.decide, trust, OTHER)

    def test_named_and_vouched_for(self) -> None:
        """Who has named one certificate gets no other one after a reconnection, whoever vouches for it."""
        for name in (fingerprint(ONE), words(ONE)):
            for before in (fingerprint(OTHER), AUTHORITIES):
                self.known.replace("a.example:5311", before)
                trust = Trust(self.known, expected=name, learn=True)
                self.decide(trust, ONE, ())
                self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE)])
                self.assertRaises(ChangedServer, self.decide, trust, OTHER, ())
                self.decide(trust, ONE, ())

    def test_named_for_the_run(self) -> None:
        """That holds as long as the program runs, whatever the file says meanwhile."""
        trust = Trust(self.known, expected=fingerprint(ONE), learn=True)
        self.decide(trust, ONE, ())
        self.known.replace("a.example:5311", AUTHORITIES)
        self.assertRaises(ChangedServer, self.decide, trust, OTHER, ())

    def invited(self, name: str = fingerprint(ONE)) -> Trust:
        """What is trusted on an invitation with this pin."""
        return Trust(self.known, expected=name, replace=False, learn=True)

    def test_invited_against_what_is_known(self) -> None:
        """An invitation does not take the place of what is known: anybody may have written it."""
        for mark, doubts in ((fingerprint(OTHER), DOUBTS), (fingerprint(OTHER), ()), (AUTHORITIES, DOUBTS)):
            self.known.replace("a.example:5311", mark)
            trust = self.invited()
            for _ in range(2):
                error = self.assertRaises(ChangedServer, self.decide, trust, ONE, doubts)
                self.assertEqual(self.known.marks("a.example:5311"), [mark])
            for part in (
                "vouches for" if mark is AUTHORITIES else mark,
                fingerprint(ONE),
                words(ONE),
                "Nothing was sent",
                "An invitation names the new one, which proves nothing",
                f"chat trust a.example:5311 {fingerprint(ONE)}",
            ):
                self.assertIn(part, str(error))
            self.known.replace("a.example:5311", fingerprint(ONE))  # as that command does
            self.decide(trust, ONE, doubts)

    def test_invited_with_what_is_known(self) -> None:
        """One that fits what is known leaves that as it is, and binds as long as the program runs."""
        for mark, doubts in ((fingerprint(ONE), DOUBTS), (fingerprint(ONE), ()), (AUTHORITIES, ())):
            self.known.replace("a.example:5311", mark)
            trust = self.invited()
            self.decide(trust, ONE, doubts)
            self.assertEqual(self.known.marks("a.example:5311"), [mark])
            self.assertRaises(ChangedServer, self.decide, trust, OTHER, ())

    def test_invited_to_the_unknown(self) -> None:
        """The pin of an invitation is what is known of a server from then on, if nothing was."""
        for doubts in (DOUBTS, ()):
            self.known.remove("a.example:5311")
            trust = self.invited()
            self.assertRaises(WrongServer, self.decide, trust, OTHER, ())
            self.decide(trust, ONE, doubts)
            self.assertEqual(self.known.marks("a.example:5311"), [fingerprint(ONE)])

    def test_invited_with_a_damaged_file(self) -> None:
        """Where nobody can tell whether the server is known, an invitation does not help."""
        self.known.path.parent.mkdir(parents=True)
        self.known.path.write_text("a.example:5311 SHA256:00\n")
        self.assertRaises(KnownServersError, self.decide, self.invited(), ONE)

    def test_program(self) -> None:
        """A program's own trust writes nothing, but remembers as long as it runs."""
        for trust in (
            Trust(self.known, expected=fingerprint(ONE)),
            Trust(self.known, accept_new=True),
        ):
            self.decide(trust, ONE)
            self.assertRaises(ChangedServer, self.decide, trust, OTHER)
        self.assertFalse(self.known.path.exists())

    def test_not_writable(self) -> None:
        """Where nothing can be written, what somebody was sure of counts until the program ends."""
        self.known.path.parent.mkdir(parents=True)
        self.patch(self.known, "_write", full)
        trust = Trust(self.known, expected=fingerprint(ONE), learn=True)
        self.decide(trust, ONE)
        self.assertRaises(ChangedServer, self.decide, trust, OTHER)
        trust = Trust(self.known, learn=True)
        self.decide(trust, ONE, ())
        self.assertRaises(ChangedServer, self.decide, trust, OTHER)
        trust = Trust(self.known, learn=True)
        error = self.assertRaises(UnknownServer, self.decide, trust, ONE)
        self.assertRaises(KnownServersError, trust.accept, error)
        self.decide(trust, ONE)
        self.assertRaises(ChangedServer, self.decide, trust, OTHER)

    def test_not_written_not_accepted(self) -> None:
        """But what is new is not accepted then, or it would be new each time."""
        self.known.path.parent.mkdir(parents=True)
        self.patch(self.known, "_write", full)
        trust = Trust(self.known, accept_new=True, learn=True)
        self.assertRaises(KnownServersError, self.decide, trust, ONE)

    def test_named_again(self) -> None:
        """Naming what is known already changes nothing in the file."""
        self.known.learn("a.example:5311", fingerprint(ONE))
        self.patch(self.known, "_write", full)
        self.decide(Trust(self.known, expected=fingerprint(ONE), learn=True), ONE)

    def test_claims(self) -> None:
        """A name is taken however it is typed; anything else is refused with what it should be."""
        for text in (
            fingerprint(ONE),
            f" {fingerprint(ONE).lower()} ",
            fingerprint(ONE)[7:].replace(":", ""),
        ):
            self.assertEqual(claim(text), fingerprint(ONE))
        for text in (words(ONE), words(ONE).upper(), words(ONE).replace(" ", "-"), f"  {words(ONE)}  "):
            self.assertEqual(claim(text), words(ONE))
        for text in ("", "yes", "abandon ability", fingerprint(ONE)[:-1], "1 2 3 4 5 6 7 8"):
            self.assertIn("words", str(self.assertRaises(ValueError, claim, text)))


class HostTests(SynchronousTestCase):
    """Which servers are spoken to with TLS."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.known = KnownServers(Path(self.mktemp()) / "known_servers")

    def secure(self, address: str, plaintext: bool = False, **more: Any) -> bool:
        """Whether it is TLS that is spoken at this address."""
        trust = Trust(self.known, **more)
        endpoint = endpoint_from(MemoryReactorClock(), address, trust=trust, plaintext=plaintext)
        return isinstance(endpoint, SecureEndpoint)

    def test_elsewhere(self) -> None:
        """A host that is not this machine is spoken to with TLS, unless it is said not to."""
        for address in ("a.example:5311", "a.example", "192.0.2.1:5311", "[2001:db8::1]:5311", "tls://a"):
            self.assertTrue(self.secure(address), address)
            self.assertFalse(self.secure(address, plaintext=True), address)

    def test_here(self) -> None:
        """This machine is spoken to without, unless it is said, or a certificate is named or known."""
        for address in ("localhost", "LOCALHOST.:5311", "127.0.0.1:5311", "127.3.2.1", "[::1]:5311"):
            self.assertFalse(self.secure(address), address)
            self.assertTrue(self.secure(f"tls://{address}"), address)
            self.assertTrue(self.secure(address, expected=fingerprint(ONE)), address)
        self.known.learn("localhost:5311", fingerprint(ONE))
        self.assertTrue(self.secure("localhost:5311"))
        self.assertFalse(self.secure("localhost:5312"))

    def test_never_back(self) -> None:
        """A server whose certificate is known is not spoken to without TLS, even if that is asked for."""
        self.known.learn("a.example:5311", AUTHORITIES)
        error = self.assertRaises(PlaintextRefused, self.secure, "A.Example.:5311", plaintext=True)
        self.assertIn("chat trust --remove a.example:5311", str(error))
        self.assertRaises(
            PlaintextRefused, Client, MemoryReactorClock(), "a.example", "a", "b", plaintext=True,
            trust=Trust(self.known),
        )  # fmt: skip

    def test_names(self) -> None:
        """One server has one name in the file, however it is written."""
        for address, name in (
            ("A.Example:05311", "a.example:5311"),
            ("a.example.", "a.example:5311"),
            ("[2001:DB8:0:0::1]:7", "[2001:db8::1]:7"),
            ("tls://192.0.2.1", "192.0.2.1:5311"),
        ):
            host = host_from(address)
            assert host is not None
            self.assertEqual(host.name, name)

    def test_ports(self) -> None:
        """Where no port is named, it is the usual one of the codec."""
        self.assertEqual(host_from("a.example"), Host("a.example", 5311))
        self.assertEqual(host_from("tls://a", Codec.DER), Host("a", 5312, True))
        self.assertEqual(host_from("localhost", "der"), Host("localhost", 5312))
        self.assertEqual(host_from("send"), None)
        self.assertEqual(host_from("unix:/x"), None)
