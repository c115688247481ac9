"""HTTP for programs: who is let in, and what the log says of it."""

from __future__ import annotations

from base64 import b64encode

from twisted.logger import formatEvent

from chat.accounts import Registration
from chat.limits.allowance import UNLIMITED, Allowance, Rate
from chat.limits.throttle import PAIR, Throttle
from tests.api import ApiTestCase, Program, basic
from tests.logbook import LogBook
from tests.talker import password


class LoginTests(ApiTestCase):
    """Who asks, and who is not let in."""

    def test_journal(self) -> None:
        """Each request is a login, told once, with where it came from, and without what was shown."""
        book = LogBook(self)
        self.alice.send("bob")
        self.alice.authorization = basic("alice", "guessed it")
        self.alice.post("/to/bob?receipt=true", b"the body", Subject="the subject")
        for secret in ("guessed", password("alice"), "the body", "the subject", "receipt"):
            self.assertNotIn(secret, book.whole)
        self.assertEqual(
            [formatEvent(event) for event in book.events if "event" in event],
            [
                "alice logged in from 127.0.0.1 with a password",
                "login to alice from 127.0.0.1 refused: wrong-password",
            ],
        )

    def test_nobody(self) -> None:
        """Who shows nothing is asked for it, in a way that browsers and curl know."""
        self.alice.authorization = None
        response = self.alice.post("/to/bob", b"hello")
        self.assertIn("-u NAME", self.assertProblem(response, 401, "login-needed"))
        self.assertEqual(response.headers["WWW-Authenticate"], 'Bearer realm="chat"')

    def test_not_understood(self) -> None:
        """What is shown in another way, or is nothing of the kind, is refused."""
        for shown in (
            "Digest x",
            "Basic",
            "Basic !!!",
            "Basic /////w==",
            "Basic YWxpY2U=",
            "Bearer",
            "Bearer xyz",
            "Bearer %ff.x",
            "Bearer \xfc.x",
        ):
            self.alice.authorization = shown
            self.assertProblem(self.alice.post("/to/bob", b"hello"), 401, "login-needed")

    def test_any_name(self) -> None:
        """A name may have a colon, which ends it in Basic, and a percent sign: both are percent-encoded."""
        for name, written in (
            ("a:b", "a%3Ab"),
            ("a:b", "a%3ab"),
            ("50%", "50%25"),
            ("a%3ab", "a%253Ab"),
            ("gärtner", "gärtner"),
            ("gärtner", "g%C3%A4rtner"),
            ("a+b", "a+b"),
        ):
            shown = f"{written}:{password(name)}".encode()
            program = self.program(name)
            program.authorization = "Basic " + b64encode(shown).decode()
            program.send("bob", written)
            (message,) = self.bob.get("/messages")["messages"]
            self.assertEqual((message["sender"], message["body"]), (name, written))
            self.bob.say("/received", ids=[message["id"]])

    def test_percent_alone(self) -> None:
        """A percent sign that begins no byte is not guessed at: it is said how to write it, not what was."""
        self.program("50%")
        self.program("%zz")
        for written in ("50%", "%zz", "%", "%2", "%ff", "a%c3b"):
            for shown in (
                "Basic " + b64encode(f"{written}:{password('50%')}".encode()).decode(),
                f"Bearer {written}.x",
            ):
                self.alice.authorization = shown
                detail = self.assertProblem(self.alice.post("/to/bob", b"hello"), 401, "login-needed")
                self.assertIn("%25", detail)
                self.assertNotIn(written, detail.replace("%25", "").replace("%3A", "").replace(" % ", ""))

    def test_password_as_it_is(self) -> None:
        """In a password nothing is encoded, and a colon is one."""
        secret = "50%: %25 %3A:x"
        client = self.network.connect()
        client.say_login("carol", secret)
        client.hear()
        Program(self.network, self.site, "carol", secret).send("bob")

    def test_two_headers(self) -> None:
        """Two claims are none."""
        self.alice.authorization = f"{self.alice.authorization}\r\nAuthorization: {self.bob.authorization}"
        self.assertProblem(self.alice.post("/to/bob", b"hello"), 401, "login-needed")

    def test_wrong_password(self) -> None:
        """A wrong password is refused as at every door, and nothing is sent."""
        self.alice.authorization = basic("alice", "guessed it")
        response = self.alice.post("/to/bob", b"hello")
        self.assertProblem(response, 401, "wrong-password")
        self.assertIn("WWW-Authenticate", response.headers)
        self.assertEqual(self.bob.waiting(), [])

    def test_free_name(self) -> None:
        """Nobody signs up by mistyping a name, though everybody may sign up elsewhere."""
        stranger = Program(self.network, self.site, "alcie")
        self.assertProblem(stranger.post("/to/bob", b"hello"), 401, "wrong-password")
        self.assertProblem(stranger.post("/to/bob", b"hello"), 401, "wrong-password")

    def test_bad_name(self) -> None:
        """A name that nobody can have is refused like a wrong one."""
        self.assertProblem(Program(self.network, self.site, "a b").post("/to/bob", b"x"), 401, "bad-name")

    def test_unknown_where_invited_only(self) -> None:
        """Where names are secret, an unknown one is answered in the same words as a wrong password."""
        self.network.accounts.registration = Registration.INVITE
        unknown = Program(self.network, self.site, "carol").post("/to/bob", b"x")
        wrong = Program(self.network, self.site, "alice", "guessed it").post("/to/bob", b"x")
        self.assertEqual(unknown, wrong)

    def test_throttle(self) -> None:
        """Who guesses is told how long to wait, as HTTP says it."""
        self.network.accounts._throttle = Throttle(self.network.clock.seconds)
        guess = Program(self.network, self.site, "alice", "guessed it")
        for _ in range(PAIR.free):
            self.assertProblem(guess.post("/to/bob", b"x"), 401, "wrong-password")
        response = guess.post("/to/bob", b"x")
        self.assertProblem(response, 429, "slow-down")
        self.assertGreaterEqual(int(response.headers["Retry-After"]), 1)

    def test_many_at_once(self) -> None:
        """A program that knows its password is no guesser, however many of its requests come at once."""
        self.network.accounts._throttle = Throttle(self.network.clock.seconds)
        self.network.hashing.slow = True
        asked = [self.alice.open("POST", "/to/bob", b"hello") for _ in range(20)]
        self.network.settle()
        self.assertEqual(self.network.hashing.waiting, 1)
        self.network.hashing.finish()
        self.assertEqual([each.response.status for each in asked], [202] * 20)

    def test_sender_slowed_down(self) -> None:
        """Who sends too much is told how long to wait, and the message is not accepted."""
        # A message in a hundred seconds: to wait for the second is too long, but not for its end.
        self.network.mailroom._allowance = Allowance(self.network.clock.seconds, Rate(0.01, 1), UNLIMITED)
        responses = [self.alice.post("/to/bob", b"hello") for _ in range(3)]
        self.assertEqual([response.status for response in responses], [202, 202, 429])
        self.assertProblem(responses[2], 429, "slow-down")
        self.assertGreaterEqual(int(responses[2].headers["Retry-After"]), 90)
        self.assertEqual(self.bob.waiting(), [1, 2])

    def test_slowed_down_and_waiting(self) -> None:
        """Who is not heard for a while, having sent too much, is answered in the time that was asked for."""
        self.network.mailroom._allowance = Allowance(self.network.clock.seconds, Rate(0.01, 1), UNLIMITED)
        self.assertEqual(self.alice.post("/to/bob", b"hello").status, 202)
        asked = self.alice.open("POST", "/to/bob?wait=5s", b"hello")
        for _ in range(3):
            self.assertFalse(asked.answered)
            self.network.pass_time(2)
        self.assertEqual((asked.response.status, asked.json["state"]), (202, "waiting"))

    def test_sessions_end(self) -> None:
        """A request leaves nobody behind who would be counted as there."""
        self.alice.send("bob")
        self.bob.waiting()
        self.assertEqual([self.network.directory.sessions(id) for id in (1, 2)], [(), ()])
