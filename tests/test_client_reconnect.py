"""Tests for the client library: what it does when the connection is gone."""

from __future__ import annotations

from typing import Any

from chat.client import (
    Backoff,
    Client,
    Disconnected,
    NotChat,
    Silent,
    Stopped,
    connection,
)
from chat.messages import (
    Bye,
    Delivered,
    Frame,
    List,
    Login,
    Message,
    Ping,
    Pong,
    Quit,
    Read,
    Welcome,
)
from tests.memory_server import TIME, ClientTests, MemorySession


class ReconnectTests(ClientTests):
    """Coming back after a lost connection."""

    def test_backoff(self) -> None:
        """The delays double from one second to a minute, and start again after a login."""
        self.line.broken = True
        self.client().start()
        self.run_for(400)
        delays = [delay for _, delay in self.disconnected]
        self.assertEqual(delays[:9], [1, 2, 4, 8, 16, 32, 60, 60, 60])
        self.line.broken = False
        self.run_for(61)
        self.assertEqual(self.server.online("alice"), [self.session()])
        self.session().cut()
        self.flush()
        self.assertEqual(self.disconnected[-1][1], 1)

    def test_jitter(self) -> None:
        """Chance shortens each delay by up to a half, so that clients do not come at once."""
        chances = iter([0.0, 0.5, 1.0])
        backoff = Backoff(chance=lambda: next(chances))
        self.assertEqual([backoff.next(), backoff.next(), backoff.next()], [0.5, 1.5, 4.0])

    def test_reason(self) -> None:
        """The application is told why there is no connection."""
        self.line.broken = True
        self.client().start()
        self.assertIsInstance(self.disconnected[0][0], Disconnected)
        self.assertIn("refused", str(self.disconnected[0][0]))

    def test_shutting_down(self) -> None:
        """A server that shuts down is expected back."""
        self.connect()
        self.session().end("shutting-down")
        self.flush()
        self.assertEqual(self.disconnected[0][0].code, "shutting-down")  # type: ignore[attr-defined]
        self.run_for(2)
        self.assertTrue(self.server.online("alice"))

    def test_silent_connect(self) -> None:
        """A connection that never comes about is given up."""
        self.line.stuck = True
        self.client(timeout=10).start()
        self.run_for(9.5)
        self.assertEqual(self.disconnected, [])
        self.run_for(1)
        self.assertEqual(len(self.disconnected), 1)

    def test_silent_greeting(self) -> None:
        """A server that accepts the connection and says nothing is given up."""
        self.server.mute = True
        self.client(timeout=10).start()
        self.run_for(9.5)
        self.assertEqual(self.disconnected, [])
        self.run_for(1)
        self.assertIsInstance(self.disconnected[0][0], Silent)
        self.assertIn("TLS", str(self.disconnected[0][0]))  # which is why it may wait

    def test_silent_answer(self) -> None:
        """A server that does not answer is given up, and the question fails."""
        client = self.connect(timeout=10)
        self.run_for(50)
        self.server.mute = True
        read = client.read([1])
        self.run_for(9.5)
        self.assertNoResult(read)
        self.run_for(1)
        self.failureResultOf(read, Silent)

    def test_idle_ping(self) -> None:
        """An idle server is asked whether it is there, and left when it does not answer."""
        self.connect(timeout=10, idle=60)
        self.run_for(59)
        self.assertEqual(self.server.frames(Ping), [])
        self.run_for(2)
        self.assertEqual(len(self.server.frames(Ping)), 1)
        self.run_for(300)
        self.assertEqual(self.disconnected, [])
        self.assertEqual(len(self.server.frames(Ping)), 6)
        self.server.mute = True
        self.run_for(71)
        self.assertIsInstance(self.disconnected[0][0], Silent)

    def test_rests_of_seconds(self) -> None:
        """Where the steps of a clock do not add up to the second, it does not look again and again."""
        looked: list[float] = []
        call_later = self.clock.callLater

        def counted(seconds: float, *what: Any) -> Any:
            looked.append(seconds)
            self.assertLess(len(looked), 100)
            return call_later(seconds, *what)

        self.patch(self.clock, "callLater", counted)
        self.clock.advance(0.01)
        self.connect(idle=60)
        self.run_for(400, 1)
        self.assertEqual(len(self.server.frames(Ping)), 6)

    def test_often_asked(self) -> None:
        """An application may want to know sooner than the server may be slow."""
        self.connect(timeout=60, idle=10)
        self.run_for(11)
        self.assertEqual(len(self.server.frames(Ping)), 1)

    def test_slow_answers_are_no_silence(self) -> None:
        """A server that keeps talking is not given up, although an answer takes long."""
        client = self.connect(timeout=10, on_message=lambda message: None)
        self.server.answers.append(lambda session, frame: isinstance(frame, Read))
        read = client.read([1])
        for _ in range(10):
            self.run_for(8)
            self.session().say(Delivered(ids=[1], time=TIME))
        self.assertNoResult(read)
        self.assertEqual(self.disconnected, [])

    def test_token_without_an_end(self) -> None:
        """A token whose end is no moment is used, and replaced at the next login."""
        self.server.expires = "2026-13-45T99:99:99.000Z"
        client = self.connect()
        self.session().cut()
        self.run_for(2)
        self.assertTrue(client.connected)
        self.assertEqual([frame.field for frame in self.server.frames(Login)][-1], "token")
        self.assertEqual(self.server.issued, 2)

    def test_questions_fail(self) -> None:
        """What was asked before a connection broke fails, each with the reason."""
        client = self.connect()
        self.server.answers.append(lambda session, frame: isinstance(frame, (Read, List)))
        asked = [client.read([1]), client.listing()]
        self.flush()
        self.session().cut()
        self.flush()
        for question in asked:
            self.failureResultOf(question, Disconnected)
        self.failureResultOf(client.ping(), Disconnected)

    def test_wrong_answer(self) -> None:
        """A server that answers something else is not believed any more."""
        client = self.connect()
        self.server.answers.append(lambda session, frame: isinstance(frame, Read) and session.say(Pong()))
        read = client.read([1])
        self.flush()
        self.failureResultOf(read, NotChat)
        self.assertFalse(client.stopped)
        self.run_for(2)
        self.assertTrue(client.connected)

    def test_unasked_answer(self) -> None:
        """An answer to no question ends the connection."""
        self.connect()
        self.session().say(Pong())
        self.flush()
        self.assertIsInstance(self.disconnected[0][0], NotChat)

    def test_unknown_frame(self) -> None:
        """News that this client does not know are passed over."""
        client = self.connect()
        self.session().transport.write(b'{"type":"system","data":{"keyword":"weather"}}\n')
        pong = client.ping()
        self.flush()
        self.successResultOf(pong)

    def test_endless_frame(self) -> None:
        """A frame without end does not fill the memory."""
        self.patch(connection, "SERVER_FRAME_BYTES", 100_000)
        self.connect()
        self.session().transport.write(b'{"' + b"x" * 99_000)
        self.flush()
        self.assertEqual(self.disconnected, [])
        self.session().transport.write(b"x" * 2000)
        self.flush()
        self.assertIsInstance(self.disconnected[0][0], NotChat)

    def test_cancelled_question(self) -> None:
        """Who cancels a question does not disturb the answers to the others."""
        client = self.connect()
        first, second = client.read([1]), client.ping()
        first.cancel()
        self.failureResultOf(first)
        self.flush()
        self.successResultOf(second)

    def test_callback_that_fails(self) -> None:
        """A mistake in the application's callback is logged and disturbs nothing."""

        def broken(welcome: Welcome) -> None:
            raise RuntimeError("the application's own")

        client = self.connect(on_connected=broken)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(client.connected)

    def test_nothing_left(self) -> None:
        """A closed client leaves no timer behind."""
        client = self.connect()
        client.delivered(1).addErrback(lambda failure: None)
        closed = client.close()
        self.flush()
        self.successResultOf(closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.stopped, [None])

    def test_close_without_connection(self) -> None:
        """A client that waits to try again can be closed."""
        self.line.broken = True
        client = self.client()
        started = client.start()
        self.successResultOf(client.close())
        self.failureResultOf(started, Stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_answers_first(self) -> None:
        """What was sent before closing is accepted before the connection closes."""
        client = self.connect()
        sent = client.send("bob", "last words")
        closed, again = client.close(), client.close()
        self.flush()
        self.successResultOf(sent)
        self.successResultOf(closed)
        self.successResultOf(again)

    def test_close_in_the_callback(self) -> None:
        """A client closed by its own callback confirms that message first."""
        clients: list[Client] = [self.client(on_message=lambda message: clients[0].close() and None)]
        clients[0].start()
        self.flush()
        self.server.deliver(self.server.accept("bob", Message(recipient="alice", body="bye")))
        self.flush()
        self.assertEqual(self.server.ledger[1].state, "delivered")
        self.assertEqual(self.stopped, [None])

    def test_message_at_the_goodbye(self) -> None:
        """What comes with the last answer is confirmed; what comes later is not taken, but left waiting."""
        got: list[Message] = []
        client = self.connect(on_message=got.append)
        bodies = iter("abc")

        def speak_first(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, (Ping, Quit)):
                session.say(self.server.accept("bob", Message(recipient="alice", body=next(bodies))).message)
            return False

        self.server.answers.append(speak_first)
        closed = client.close()
        self.flush()
        self.successResultOf(closed)
        self.assertEqual([message.body for message in got], ["a"])
        self.assertEqual([each.state for each in self.server.ledger.values()], ["delivered", "waiting"])

    def test_server_that_does_not_let_go(self) -> None:
        """A connection that the server does not close is closed by force."""
        client = self.connect()
        self.server.answers.append(lambda session, frame: isinstance(frame, Quit) and session.say(Bye()))
        transport: Any = client._connection and client._connection.transport
        forced: list[bool] = []
        transport.loseConnection = lambda: None
        transport.abortConnection = lambda: forced.append(True)
        client.close()
        self.run_for(4)
        self.assertEqual(forced, [])
        self.run_for(2)
        self.assertEqual(forced, [True])
