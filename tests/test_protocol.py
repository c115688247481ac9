"""The connection: bytes, limits and time-outs."""

from __future__ import annotations

from chat.protocol import INPUT_BYTES
from chat.wire.translator import FRAMES_AT_ONCE, REFUSALS_AT_ONCE
from tests.network import Client, NetworkTestCase
from tests.talker import keywords, password

CODECS = ("json", "der")


def sized(client: Client, size: int) -> bytes:
    """A frame of just so many bytes: a message if they suffice, else a login frame."""
    kind = {"type": "message", "recipient": "nobody", "key": "body"}
    if size < 10_000:
        kind = {"type": "login", "field": "username", "key": "value"}
    key, type_ = kind.pop("key"), kind.pop("type")
    text = "x" * size
    while len(frame := client.encoded(type_, **kind, **{key: text})) > size:
        text = text[: size - len(frame)]
    assert len(frame) == size
    return frame


class LimitTests(NetworkTestCase):
    """How long a frame may be: 4 KiB before the login, 512 KiB after it, to the byte."""

    def test_beforeLogin(self) -> None:
        """4096 bytes are a frame, 4097 are the end; the one before them is answered."""
        for codec in CODECS:
            client = self.network.connect(codec)
            client.write(sized(client, 4096))
            self.assertHears(client, "failed bad-name", "username")
            client.write(sized(client, 4096) + sized(client, 4097))
            heard = self.assertHears(client, "failed bad-name", "username", "fatal frame-too-large")
            self.assertIn("4096", heard[-1]["reason"])
            self.assertTrue(client.ended)

    def test_afterLogin(self) -> None:
        """524288 bytes are a frame (though its body is too large), 524289 are the end."""
        for codec in CODECS:
            client = self.network.user("alice", codec)
            client.write(sized(client, 524288))
            self.assertHears(client, "failed too-large")
            client.write(sized(client, 524288) + sized(client, 524289))
            heard = self.assertHears(client, "failed too-large", "fatal frame-too-large")
            self.assertIn("524288", heard[-1]["reason"])
            self.assertTrue(client.ended)

    def test_unfinishedLine(self) -> None:
        """A line that cannot end within the limit any more is not waited for."""
        client = self.network.connect()
        client.write(b"x" * 4095)
        self.assertHears(client)
        client.write(b"x")
        self.assertHears(client, "fatal frame-too-large")

    def test_announcedLength(self) -> None:
        """A DER frame that only says it will be too long is not waited for."""
        client = self.network.connect("der")
        client.write(bytes([0xA0, 0x82, 0x0F, 0xFC]))
        self.assertHears(client)
        client = self.network.connect("der")
        client.write(bytes([0xA0, 0x82, 0x0F, 0xFD]))
        self.assertHears(client, "fatal frame-too-large")

    def test_bodyOfEscapes(self) -> None:
        """A body of 64 KiB fits even when every character is escaped."""
        bob = self.network.user("bob")
        alice = self.network.user("alice")
        body = "\x01" * 65536
        line = b'{"type":"message","data":{"recipient":"bob","body":"%s"}}\n' % (b"\\u0001" * 65536)
        alice.write(line)
        self.assertHears(alice, "accepted")
        self.assertEqual(bob.hear()[0]["body"], body)

    def test_limitFallsWithTheLogin(self) -> None:
        """After the account is deleted the limit is 4 KiB again."""
        alice = self.network.user("alice")
        alice.system("delete-account", password=password("alice"))
        alice.write(b"x" * 4096)
        self.assertHears(alice, "account-deleted", "username", "fatal frame-too-large")


class PipelineTests(NetworkTestCase):
    """What is sent before it is asked for."""

    def setUp(self) -> None:
        """A server that knows Alice."""
        super().setUp()
        self.network.user("alice").hang_up()

    def test_all(self) -> None:
        """User name, password, a send, a ping and a large body, in one go: all is answered in order."""
        for codec in CODECS:
            client = self.network.connect(codec)
            large = client.encoded("message", recipient="nobody", body="x" * 65536)
            client.write(
                client.encoded("login", field="username", value="alice")
                + client.encoded("login", field="password", value=password("alice"))
                + client.encoded("message", recipient="nobody", body="hi")
                + client.encoded("system", keyword="ping")
                + large
                + sized(client, 500 * 1024)
                + client.encoded("system", keyword="ping")
            )
            heard = [word for word in keywords(client.hear()) if word != "message"]
            self.assertEqual(
                heard,
                ["password", "welcome", "accepted", "pong", "accepted", "failed too-large", "pong"],
            )

    def test_waits(self) -> None:
        """While the password is checked the rest waits, most of it in the network."""
        for codec in CODECS:
            client = self.network.connect(codec)
            self.network.hashing.slow = True
            client.say_login("alice")
            frame = sized(client, 500 * 1024)
            for start in range(0, len(frame), 10_000):
                client.write(frame[start : start + 10_000])
            client.system("ping")
            self.assertHears(client, "password")
            buffered = client.protocol._translator.buffered
            self.assertLessEqual(buffered, INPUT_BYTES + 10_000)
            self.assertEqual(client.wire.producerState, "paused")
            self.network.hashing.slow = False
            self.network.hashing.finish()
            heard = [word for word in keywords(client.hear()) if word != "message"]
            self.assertEqual(heard, ["welcome", "failed too-large", "pong"])
            self.assertEqual(client.wire.producerState, "producing")

    def test_smallRestStaysHere(self) -> None:
        """What waits and is little does not stop the reading."""
        client = self.network.connect()
        self.network.hashing.slow = True
        client.say_login("alice")
        client.system("ping")
        self.assertHears(client, "password")
        self.assertEqual(client.wire.producerState, "producing")

    def test_takingTurns(self) -> None:
        """Whoever sends very many frames in one go lets the others have their turn before it goes on."""
        client, other = self.network.user("alice"), self.network.user("bob")
        client.write(client.encoded("system", keyword="ping") * (FRAMES_AT_ONCE + 10))
        other.system("ping")
        self.assertEqual(bytes(client.wire.unread).count(b"pong"), FRAMES_AT_ONCE)
        self.assertEqual(bytes(other.wire.unread).count(b"pong"), 1)
        self.assertHears(client, *["pong"] * (FRAMES_AT_ONCE + 10))
        client.write(client.encoded("system", keyword="ping") * (FRAMES_AT_ONCE + 10))
        client.system("ping")
        self.assertEqual(bytes(client.wire.unread).count(b"pong"), FRAMES_AT_ONCE)
        client.protocol.readConnectionLost()
        self.assertHears(client, *["pong"] * (FRAMES_AT_ONCE + 11), "bye")
        client = self.network.user("alice")
        client.write(client.encoded("system", keyword="ping") * (FRAMES_AT_ONCE + 10))
        client.hang_up()
        self.network.settle()

    def test_takingTurnsBeforeLogin(self) -> None:
        """So does whoever has very much refused in one go before a login."""
        client, other = self.network.connect(), self.network.user("bob")
        client.hear()
        client.write(b"{}\n" * (REFUSALS_AT_ONCE + 10))
        other.system("ping")
        self.assertEqual(bytes(client.wire.unread).count(b"bad-frame"), REFUSALS_AT_ONCE)
        self.assertEqual(bytes(other.wire.unread).count(b"pong"), 1)
        self.assertHears(client, *["failed bad-frame", "username"] * (REFUSALS_AT_ONCE + 10))

    def test_wrongPassword(self) -> None:
        """Behind a wrong password a frame is judged by the limit that then holds."""
        client = self.network.connect()
        client.say_login("alice", "not the password")
        client.write(sized(client, 20_000))
        self.assertHears(client, "password", "failed wrong-password", "username", "fatal frame-too-large")

    def test_byteByByte(self) -> None:
        """Bytes that come one at a time are the same conversation."""
        for codec in CODECS:
            client = self.network.connect(codec)
            wire = client.encoded("login", field="username", value="alice")
            wire += client.encoded("login", field="password", value=password("alice"))
            wire += client.encoded("system", keyword="ping")
            for byte in wire:
                client.write(bytes([byte]))
                self.network.settle()
            self.assertHears(client, "password", "welcome", "pong")


class BadBytesTests(NetworkTestCase):
    """Bytes that are no frame."""

    MALFORMED = {
        "json": [b"hello\n", b'{"type":"system"\n', b"\xff\xfe\n", b'"\xed\xa0\x80"\n', b"[" * 4000 + b"\n"],
        "der": [b"\x30\x80", b"\xa0\x81\x01\x00", b"\x1f\xff\xff\xff\xff\x00", b"\xa0\x82\x00\x01\x00"],
    }
    BAD = {
        "json": [b"{}\n", b"[]\n", b"null\n", b'{"type":"foo"}\n', b'{"type":"system","data":{}}\n'],
        "der": [b"\x30\x00", b"\xaa\x00"],
    }

    def test_malformed(self) -> None:
        """What is no JSON, no UTF-8 or no DER is the end, before the login and after it."""
        for codec, samples in self.MALFORMED.items():
            for sample in samples:
                client = self.network.connect(codec)
                client.write(sample)
                self.assertHears(client, "fatal malformed-frame")
                self.assertTrue(client.ended)
                client = self.network.user("alice", codec)
                client.system("ping")
                client.write(sample + client.encoded("system", keyword="ping"))
                self.assertHears(client, "pong", "fatal malformed-frame")
                self.assertTrue(client.ended)

    def test_bad(self) -> None:
        """What is well-formed but no frame is refused; before the login the prompt follows."""
        for codec, samples in self.BAD.items():
            for sample in samples:
                client = self.network.connect(codec)
                client.write(sample)
                self.assertHears(client, "failed bad-frame", "username")
                client.say_login("alice")
                if keywords(client.hear())[-1] != "welcome":
                    client.log_in("alice")
                client.write(sample + client.encoded("system", keyword="ping"))
                self.assertHears(client, "failed bad-frame", "pong")

    def test_blankLines(self) -> None:
        """Blank lines are nothing, and a CR before the LF is allowed."""
        client = self.network.user("alice")
        client.write(b"\n\r\n   \n" + client.encoded("system", keyword="ping")[:-1] + b"\r\n\n")
        self.assertHears(client, "pong")


class LoginTimeoutTests(NetworkTestCase):
    """How long a login may take."""

    def test_silent(self) -> None:
        """A client that never speaks is told, and hung up, after just that time."""
        for codec in CODECS:
            client = self.network.connect(codec)
            self.network.pass_time(59.9)
            self.assertHears(client)
            self.network.pass_time(0.2)
            heard = self.assertHears(client, "fatal login-timeout")
            self.assertIn("60 seconds", heard[0]["reason"])
            self.assertTrue(client.ended)

    def test_notProlonged(self) -> None:
        """Whatever a client says, short of a login, wins it no time."""
        client = self.network.connect()
        for _ in range(6):
            self.network.pass_time(9.9)
            client.say_login("Nobody", "short")
            client.write(b"{}\n")
        self.assertEqual(keywords(client.hear())[-1], "username")
        self.network.pass_time(0.7)
        self.assertHears(client, "fatal login-timeout")

    def test_createdIsNoLogin(self) -> None:
        """Signing up is not logging in."""
        client = self.network.connect()
        client.say_login("alice")
        self.assertHears(client, "new-password", "created", "username")
        self.network.pass_time(60.1)
        self.assertHears(client, "fatal login-timeout")

    def test_loggedIn(self) -> None:
        """After the login there is no hurry."""
        client = self.network.user("alice")
        self.network.pass_time(100_000)
        client.system("ping")
        self.assertHears(client, "pong")

    def test_notWhileHashing(self) -> None:
        """When it is the server that takes its time with the password, the client is waited for."""
        self.network.user("alice").hang_up()
        client = self.network.connect()
        self.network.hashing.slow = True
        client.say_login("alice")
        self.network.settle()
        self.network.pass_time(60.1)
        self.network.pass_time(300)
        self.assertHears(client, "password")
        self.network.hashing.finish()
        self.assertHears(client, "welcome")
        self.network.pass_time(1000)
        client.system("ping")
        self.assertHears(client, "pong")

    def test_afterSlowWrongPassword(self) -> None:
        """When the password then is wrong, the time is up."""
        self.network.user("alice").hang_up()
        client = self.network.connect()
        self.network.hashing.slow = True
        client.say_login("alice", "not the password")
        self.network.settle()
        self.network.pass_time(61)
        self.network.hashing.finish()
        self.assertHears(client, "password", "failed wrong-password", "username", "fatal login-timeout")

    def test_notEvaded(self) -> None:
        """Guesses sent ahead do not keep the server busy beyond the time."""
        self.network.user("alice").hang_up()
        client = self.network.connect()
        self.network.hashing.slow = True
        for _ in range(5):
            client.say_login("alice", "not the password")
        self.network.settle()
        self.network.pass_time(61)
        self.network.hashing.finish()
        self.assertHears(client, "password", "failed wrong-password", "username", "fatal login-timeout")

    def test_againAfterSlowLogin(self) -> None:
        """A login that the server took too long for does not shorten the next one."""
        self.network.user("alice").hang_up()
        client = self.network.connect()
        self.network.hashing.slow = True
        client.say_login("alice")
        self.network.settle()
        self.network.pass_time(61)
        self.network.hashing.finish()
        self.network.hashing.slow = False
        self.assertHears(client, "password", "welcome")
        client.system("delete-account", password=password("alice"))
        self.assertHears(client, "account-deleted", "username")
        self.network.pass_time(59.9)
        self.assertHears(client)
        self.network.pass_time(0.2)
        self.assertHears(client, "fatal login-timeout")

    def test_againAfterDeletion(self) -> None:
        """After the account is deleted the time for a login begins again."""
        client = self.network.user("alice")
        self.network.pass_time(1000)
        client.system("delete-account", password=password("alice"))
        self.assertHears(client, "account-deleted", "username")
        self.network.pass_time(59.9)
        self.assertHears(client)
        self.network.pass_time(0.2)
        self.assertHears(client, "fatal login-timeout")

    def test_otherTime(self) -> None:
        """The operator decides how long it may take."""
        self.start(login_timeout=2.5)
        client = self.network.connect()
        self.network.pass_time(2.6)
        heard = self.assertHears(client, "fatal login-timeout")
        self.assertIn("2.5 seconds", heard[0]["reason"])

    def test_nothingLeft(self) -> None:
        """A connection that is gone leaves no call behind."""
        self.network.connect().hang_up()
        self.network.user("alice").hang_up()
        self.assertEqual(self.network.planned(), [])
