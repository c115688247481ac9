"""Tests for the client library: tokens in place of the password."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from chat.client import (
    Backoff,
    Disconnected,
    Refused,
    Stopped,
)
from chat.messages import (
    Failed,
    Frame,
    Login,
    Logout,
    Token,
    TokenIssued,
    Username,
)
from chat.times import milliseconds
from chat.wire import Codec
from tests.memory_server import TIME, ClientTests, MemorySession

DAY = 24 * 60 * 60


class TokenTests(ClientTests):
    """After the first login, a token stands for the password."""

    def setUp(self) -> None:
        """Remember what the application is told."""
        super().setUp()
        self.told: list[TokenIssued | None] = []
        self.clock.advance(milliseconds(TIME) / 1000)

    def fields(self) -> list[str]:
        """What was said at the prompts since this was last asked."""
        said = [frame.field for frame in self.server.frames(Login)]
        del self.server.heard[:]
        return said

    def again(self) -> list[str]:
        """Break the connection, and tell what is said at the next login."""
        self.session().cut()
        self.run_for(2)
        return self.fields()

    def test_resumed(self) -> None:
        """The password is said once; after that each connection is entered with the same token."""
        client = self.connect(on_token=self.told.append)
        self.assertEqual(self.fields(), ["username", "password"])
        for _ in range(2):
            self.assertEqual(self.again(), ["username", "token"])
            self.assertTrue(client.connected)
        self.assertEqual(self.server.issued, 1)
        self.assertEqual(self.told, [TokenIssued(value="token 1", expires=self.server.expires)])

    def test_not_taken(self) -> None:
        """A token that is not taken makes room for the password, and for another token."""
        client = self.connect(on_token=self.told.append)
        self.server.tokens = {}
        self.fields()
        self.assertEqual(self.again(), ["username", "token", "username", "password"])
        self.assertTrue(client.connected)
        self.assertEqual([each and each.value for each in self.told], ["token 1", None, "token 2"])
        self.assertEqual(self.again(), ["username", "token"])

    def test_server_without_tokens(self) -> None:
        """A server that knows none gets the password each time, also one that has taken tokens before."""
        client = self.connect()
        self.server.tokens = None
        self.fields()
        self.assertEqual(self.again(), ["username", "token", "password"])
        self.assertEqual(self.again(), ["username", "password"])
        self.assertTrue(client.connected)
        self.assertEqual(self.stopped, [])

    def test_not_wanted(self) -> None:
        """A client that is told not to does not ask for a token."""
        self.connect(tokens=False)
        self.fields()
        self.assertEqual(self.again(), ["username", "password"])
        self.assertEqual(self.server.frames(Token), [])

    def test_kept(self) -> None:
        """An application can keep the token and needs no password at the next start."""
        self.connect(on_token=self.told.append)
        (token,) = self.told
        self.fields()
        client = self.connect("alice", None, token=token, on_token=self.told.append)
        self.assertEqual(self.fields(), ["username", "token"])
        self.assertTrue(client.connected)
        self.assertEqual((self.told, self.server.issued), ([token], 1))

    def test_no_password(self) -> None:
        """Without a password, a token that is not taken is the end."""
        token = TokenIssued(value="old", expires=self.server.expires)
        client = self.client(password=None, token=token, on_token=self.told.append)
        started = client.start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-token")
        self.assertEqual(self.told, [None])
        self.assertEqual(len(self.stopped), 1)

    def test_new_password_without_one(self) -> None:
        """A client that came with a token only knows the password once it has set it."""
        self.server.tokens = {"kept": "alice"}
        token = TokenIssued(value="kept", expires=self.server.expires)
        client = self.connect("alice", None, token=token)
        refused = client.change_password("wrong", "looking glass")
        self.flush()
        self.failureResultOf(refused, Refused)
        self.successResultOf(self.flushed(client.change_password("wonderland", "looking glass")))
        self.server.tokens = {}
        self.fields()
        self.assertEqual(self.again(), ["username", "token", "username", "password"])
        self.assertTrue(client.connected)

    def flushed(self, deferred: Deferred[Any]) -> Deferred[Any]:
        """What was asked has been answered."""
        self.flush()
        return deferred

    def test_password_changed(self) -> None:
        """After a new password the old token is forgotten, and a new one is asked for."""
        client = self.connect(on_token=self.told.append)
        self.successResultOf(self.flushed(client.change_password("wonderland", "looking glass")))
        self.assertEqual([each and each.value for each in self.told], ["token 1", None, "token 2"])
        self.fields()
        self.assertEqual(self.again(), ["username", "token"])

    def test_renewed(self) -> None:
        """A day before its end it is replaced, on the connection there is."""
        client = self.connect(on_token=self.told.append)
        self.server.expires = "2027-01-21T21:07:00.000Z"
        self.run_for(29 * DAY - 60, 50)
        self.assertEqual(self.server.issued, 1)
        self.run_for(120, 50)
        self.assertEqual([each and each.value for each in self.told], ["token 1", "token 2"])
        self.assertTrue(client.connected)
        self.fields()
        self.assertEqual(self.again(), ["username", "token"])
        self.assertEqual(self.server.issued, 2)

    def test_renewed_after_the_login(self) -> None:
        """When that day comes without a connection, it is replaced at the next login."""
        self.connect(backoff=Backoff(first=40 * DAY, cap=40 * DAY, chance=lambda: 1.0))
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.clock.pump([DAY] * 29 + [DAY / 2])
        self.line.broken = False
        self.assertEqual(self.server.issued, 1)
        self.server.expires = "2028-01-21T21:07:00.000Z"
        self.fields()
        self.run_for(40 * DAY, DAY)
        self.assertEqual(self.fields()[:2], ["username", "token"])
        self.assertEqual(self.server.issued, 2)

    def test_short(self) -> None:
        """One that lives for an hour only is replaced after half of it."""
        self.server.expires = "2026-11-22T22:07:00.123Z"
        self.connect()
        self.run_for(29 * 60, 20)
        self.assertEqual(self.server.issued, 1)
        self.run_for(2 * 60, 20)
        self.assertGreater(self.server.issued, 1)

    def test_clocks_differ(self) -> None:
        """When it has ended by this clock, it is tried all the same, and asked for once at each login."""
        self.server.expires = "2026-11-22T20:00:00.000Z"
        self.connect()
        self.run_for(3600, 20)
        self.assertEqual(self.server.issued, 1)
        self.fields()
        self.assertEqual(self.again(), ["username", "token"])
        self.assertEqual(self.server.issued, 2)

    def test_cut_while_showing_it(self) -> None:
        """A connection that breaks behind the token proves nothing against it."""
        client = self.connect(on_token=self.told.append)
        self.fields()
        self.server.cuts = {self.server.step + 5}  # version, username, our name, password, and the token
        self.again()
        self.run_for(10)
        self.assertEqual(self.fields(), ["username", "token"])
        self.assertTrue(client.connected)
        self.assertEqual(len(self.told), 1)

    def test_other_refusals(self) -> None:
        """Whatever else the server refuses before the login is not blamed on the token."""
        client = self.connect(on_token=self.told.append)

        def busy(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, Login) or frame.field != "token":
                return False
            self.server.answers.remove(busy)
            return session.say(Failed(code="slow-down", reason="Later.", seconds=1), Username())

        self.server.answers.append(busy)
        self.fields()
        self.assertEqual(self.again(), ["username", "token"])
        self.run_for(10)
        self.assertEqual(self.fields(), ["username", "token"])
        self.assertTrue(client.connected)
        self.assertEqual(len(self.told), 1)

    def test_callback_fails(self) -> None:
        """A mistake in the application's callback does not disturb the client."""

        def broken(_: object) -> None:
            raise ZeroDivisionError

        client = self.connect(on_token=broken)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(client.connected)

    def test_further_token(self) -> None:
        """An application can ask for tokens to give away; the client's own stays."""
        client = self.connect(on_token=self.told.append)
        token = self.successResultOf(self.flushed(client.new_token()))
        self.assertEqual(token.value, "token 2")
        self.assertEqual(len(self.told), 1)
        self.failureResultOf(self.client().new_token(), Disconnected)

    def test_log_out(self) -> None:
        """After logging out the token is worth nothing, and the client has stopped."""
        for everywhere in (False, True):
            del self.stopped[:]
            client = self.connect(on_token=self.told.append)
            self.successResultOf(self.flushed(client.log_out(everywhere)))
            self.assertEqual(self.server.frames(Logout)[-1].all, everywhere)
            self.assertIs(self.told[-1], None)
            self.assertEqual(self.server.tokens, {})
            self.assertEqual(self.stopped, [None])
            self.failureResultOf(client.log_out(), Stopped)

    def test_deleted(self) -> None:
        """A deleted account leaves no token to keep."""
        client = self.connect(on_token=self.told.append)
        self.successResultOf(self.flushed(client.delete_account("wonderland")))
        self.assertIs(self.told[-1], None)

    def test_secret(self) -> None:
        """A token is not in what a log could show."""
        client = self.connect(on_token=self.told.append)
        shown = [*self.told, *self.server.heard, client._token, vars(client._entrance)]
        self.assertNotIn("token 1", repr(shown))


class TokenDerTests(TokenTests):
    """The same in DER."""

    codec = Codec.DER
