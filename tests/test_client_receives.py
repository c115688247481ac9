"""Tests for the client library: what arrives, and what else can be asked for."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred

from chat.client import (
    Disconnected,
    Refused,
    Unanswerable,
)
from chat.client.inbox import Inbox
from chat.client.seen import Seen
from chat.messages import (
    Block,
    Blocked,
    Blocks,
    Frame,
    List,
    Message,
    Received,
    Returned,
    Unblock,
)
from tests.memory_server import TIME, ClientTests, MemorySession

LATER = "2026-11-22T21:07:00.124Z"


class ReceiveTests(ClientTests):
    """Receiving each message once."""

    def given(self, *bodies: str) -> None:
        """Messages from Bob that wait for Alice."""
        for body in bodies:
            self.server.deliver(self.server.accept("bob", Message(recipient="alice", body=body)))
        self.flush()

    def states(self) -> str:
        """The first letters of the states of all messages."""
        return "".join(stored.state[0] for stored in self.server.ledger.values())

    def test_in_order(self) -> None:
        """What waited and what comes later is given to the callback in order, and confirmed."""
        self.given("one", "two")
        got: list[str] = []
        self.connect(on_message=lambda message: got.append(message.body))
        self.given("three")
        self.assertEqual(got, ["one", "two", "three"])
        self.assertEqual(self.states(), "ddd")

    def test_confirmed_together(self) -> None:
        """Messages that come together are confirmed with one frame."""
        self.given(*"abcdefgh")
        self.connect(on_message=lambda message: None)
        self.assertEqual(self.server.frames(Received), [Received(ids=list(range(1, 9)))])

    def test_without_callback(self) -> None:
        """A client that only sends leaves the mailbox as it is."""
        self.given("one")
        self.connect()
        self.assertEqual(self.states(), "w")

    def test_after_the_callback(self) -> None:
        """A message is confirmed after the callback's Deferred has fired, and they take turns."""
        turns: list[tuple[str, Deferred[None]]] = []

        def slowly(message: Message) -> Deferred[None]:
            turns.append((message.body, Deferred()))
            return turns[-1][1]

        self.connect(on_message=slowly)
        self.given("one", "two")
        self.assertEqual([body for body, _ in turns], ["one"])
        self.assertEqual(self.states(), "ww")
        turns[0][1].callback(None)
        self.flush()
        self.assertEqual([body for body, _ in turns], ["one", "two"])
        self.assertEqual(self.states(), "dw")

    def test_coroutine(self) -> None:
        """The callback may be a coroutine, and may itself send and wait."""

        async def echo(message: Message) -> None:
            await client.send(message.sender, message.body.upper())

        client = self.connect(on_message=echo)
        self.given("one", "two")
        self.assertEqual(
            [stored.message.body for stored in self.server.ledger.values()],
            ["one", "two", "ONE", "TWO"],
        )
        self.assertEqual(self.states(), "ddww")

    def test_callback_that_fails(self) -> None:
        """A message whose callback fails stays waiting and comes again; the next ones go on."""
        got: list[str] = []

        def once_bad(message: Message) -> None:
            got.append(message.body)
            if got == ["one"]:
                raise RuntimeError("the application's own")

        self.connect(on_message=once_bad)
        self.given("one", "two")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.states(), "wd")
        self.session().cut()
        self.run_for(2)
        self.assertEqual(got, ["one", "two", "one"])
        self.assertEqual(self.states(), "dd")

    def test_confirmation_lost(self) -> None:
        """A message confirmed over a dying connection is confirmed again, and not shown again."""
        got: list[str] = []
        self.server.answers.append(lambda session, frame: session.number == 0 and isinstance(frame, Received))
        self.connect(on_message=lambda message: got.append(message.body))
        self.given("one")
        self.assertEqual(self.states(), "w")
        self.session().cut()
        self.run_for(2)
        self.assertEqual(got, ["one"])
        self.assertEqual(self.states(), "d")

    def test_callback_over_a_reconnect(self) -> None:
        """A message is not given again while the callback still has it from before."""
        got: list[str] = []
        done: Deferred[None] = Deferred()

        def slowly(message: Message) -> Deferred[None]:
            got.append(message.body)
            return done

        self.connect(on_message=slowly)
        self.given("one")
        self.session().cut()
        self.run_for(2)
        done.callback(None)
        self.flush()
        self.assertEqual(got, ["one"])
        self.assertEqual(self.states(), "d")

    def test_slow_callback_is_bounded(self) -> None:
        """What a slow callback cannot hold is forgotten, fetched later, and given once, in order."""
        got: list[str] = []
        done: Deferred[None] = Deferred()

        def slowly(message: Message) -> Deferred[None] | None:
            got.append(message.body)
            return done if len(got) == 1 else None

        bodies = [str(number) for number in range(300)]
        self.given(*bodies[:250])
        client = self.client(on_message=slowly)
        client._inbox = inbox = Inbox(slowly, most=10)
        client.start()
        self.flush()
        self.given(*bodies[250:])
        self.assertEqual(got, ["0"])
        self.assertLessEqual(len(inbox._backlog), 10)
        done.callback(None)
        self.flush()
        self.assertEqual(got, bodies)
        self.assertEqual(set(self.states()), {"d"})
        self.given("at last")
        self.assertEqual(got[-1], "at last")
        self.assertEqual(len(self.server.frames(List)), 3)

    def slow(self, first: Deferred[None], most: int) -> list[str]:
        """A client whose callback is busy with the first message; what it has been given."""
        got: list[str] = []

        def slowly(message: Message) -> Deferred[None] | None:
            got.append(message.body)
            return first if len(got) == 1 else None

        client = self.client(on_message=slowly)
        client._inbox = Inbox(slowly, most=most)
        client.start()
        self.flush()
        return got

    def test_news_while_fetching(self) -> None:
        """What comes while forgotten messages are being fetched takes its turn behind them."""
        self.given(*"abcdef")
        done: Deferred[None] = Deferred()
        got = self.slow(done, most=2)

        def news(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, List) and len(self.server.ledger) == 6:
                session._answer(frame)
                self.server.deliver(self.server.accept("bob", Message(recipient="alice", body="g")))
                return True
            return False

        self.server.answers.append(news)
        done.callback(None)
        self.flush()
        self.assertEqual("".join(got), "abcdefg")

    def test_strange_id(self) -> None:
        """Whatever id a server gives a message, nothing impossible is asked for it."""
        self.given("a", "b")
        done: Deferred[None] = Deferred()
        got = self.slow(done, most=1)
        self.session().say(Message(id=0, sender="bob", recipient="alice", time=TIME, body="zero"))
        self.flush()
        done.callback(None)
        self.flush()
        self.assertEqual(got, ["a", "b"])

    def test_fetching_what_is_not_yet_confirmed(self) -> None:
        """What the callback has had is not fetched, though the server has yet to note that."""
        self.server.accept("alice", Message(recipient="bob", body="to bob"))
        self.given(*"abcdef")
        self.server.answers.append(lambda session, frame: isinstance(frame, Received))
        done: Deferred[None] = Deferred()
        got = self.slow(done, most=2)
        self.server.turn_back(1)
        self.flush()
        done.callback(None)
        self.flush()
        self.assertEqual(got, ["a", "b", "to bob", "c", "d", "e", "f"])

    def test_fetching_over_a_reconnect(self) -> None:
        """A connection that breaks at any step of the fetching loses and doubles nothing."""
        for cut in range(1, 90):
            self.setUp()
            got: list[str] = []
            done: Deferred[None] = Deferred()

            def slowly(
                message: Message, got: list[str] = got, done: Deferred[None] = done
            ) -> Deferred[None] | None:
                got.append(message.body)
                return done if len(got) == 1 else None

            bodies = [str(number) for number in range(30)]
            self.given(*bodies)
            client = self.client(on_message=slowly)
            client._inbox = Inbox(slowly, most=4)
            self.server.cuts = {cut}
            client.start()
            self.flush()
            done.callback(None)
            self.run_for(4)
            self.assertEqual(got, bodies, cut)
            self.assertEqual(set(self.states()), {"d"}, cut)

    def test_seen(self) -> None:
        """The memory of messages holds what was added, in any order, and nothing else."""
        seen = Seen()
        for id in (5, 3, 9, 5, 2**62, 1):
            seen.add(id, TIME)
        there = [id for id in (0, 1, 2, 3, 4, 5, 9, 2**62) if seen.holds(id, TIME)]
        self.assertEqual(there, [1, 3, 5, 9, 2**62])
        self.assertEqual(len(seen), 5)
        self.assertFalse(seen.holds(5, LATER))
        seen.add(5, LATER)
        self.assertEqual([seen.holds(5, time) for time in (TIME, LATER)], [False, True])
        self.assertEqual(len(seen), 5)

    def put_back(self, *bodies: str) -> None:
        """The server's files are put back as they once were, and then other messages get the same ids."""
        self.server.ledger.clear()
        for body in bodies:
            stored = self.server.accept("bob", Message(recipient="alice", body=body))
            stored.message = msgspec.structs.replace(stored.message, time=LATER)
            self.server.deliver(stored)
        self.flush()

    def test_ids_again(self) -> None:
        """After the server's files were put back, another message with an id that was seen is a new one."""
        got: list[str] = []
        self.connect(on_message=lambda message: got.append(message.body))
        self.given("one", "two")
        self.session().cut()
        self.flush()
        self.put_back("other one", "other two")
        self.assertEqual(self.states(), "ww")
        self.run_for(2)
        self.assertEqual(got, ["one", "two", "other one", "other two"])
        self.assertEqual(self.states(), "dd")

    def test_ids_again_while_busy(self) -> None:
        """The same while the callback still has the message that had the id before."""
        got: list[str] = []
        done: Deferred[None] = Deferred()

        def slowly(message: Message) -> Deferred[None] | None:
            got.append(message.body)
            return done if len(got) == 1 else None

        self.connect(on_message=slowly)
        self.given("one")
        self.session().cut()
        self.flush()
        self.put_back("other one")
        self.run_for(2)
        self.assertEqual((got, self.states()), (["one"], "w"))
        done.callback(None)
        self.flush()
        self.assertEqual((got, self.states()), (["one", "other one"], "d"))


class CommandTests(ClientTests):
    """The other things that an application can ask."""

    def test_boxes(self) -> None:
        """Listing and reading tell what the server tells."""
        client = self.connect()
        client.send("bob", "hello", "hi")
        listing, read = client.listing("sent", limit=5), client.read([1])
        self.flush()
        self.assertEqual([entry.subject for entry in self.successResultOf(listing).messages], ["hi"])
        self.assertEqual(self.successResultOf(read).missing, [1])

    def test_answer(self) -> None:
        """A program's answer is automatic, goes to the sender, and once for each message."""
        client = self.connect()
        message = Message(id=7, sender="bob", recipient="alice", time=TIME, body="Are you there?")
        for _ in range(2):
            answered = client.answer(message, "I am away.", "Away")
            self.flush()
            self.assertEqual(self.successResultOf(answered).id, 1)
        (sent,) = [each.message for each in self.server.ledger.values()]
        self.assertEqual(
            (sent.recipient, sent.subject, sent.body, sent.automatic, sent.answers),
            ("bob", "Away", "I am away.", True, message.id),
        )

    def test_no_answer_to_a_program(self) -> None:
        """What is automatic, or came back, is not answered: two programs cannot go on for ever."""
        client = self.connect()
        back = Returned(code="unknown-recipient", recipient="bbo", note="No.")
        for more in ({"automatic": True}, {"returned": back}):
            message = Message(id=7, sender="bob", recipient="alice", time=TIME, body="x", **more)
            self.failureResultOf(client.answer(message, "I am away."), Unanswerable)
        self.flush()
        self.assertEqual(self.server.ledger, {})

    def test_blocks(self) -> None:
        """Blocking, unblocking and asking are told whom the server tells."""
        client = self.connect()
        asked: list[Frame] = []
        names = ["mallory"]

        def answer(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, (Block, Unblock, Blocks)):
                return False
            asked.append(frame)
            return session.say(Blocked(usernames=names))

        self.server.answers.append(answer)
        for ask in (lambda: client.block("mallory"), lambda: client.unblock("eve"), client.blocked):
            told = ask()
            self.flush()
            self.assertEqual(self.successResultOf(told).usernames, names)
        self.assertEqual(asked, [Block(username="mallory"), Unblock(username="eve"), Blocks()])

    def test_change_password(self) -> None:
        """After a change the client logs in with the new password."""
        client = self.connect(tokens=False)
        changed = client.change_password("wonderland", "looking glass")
        self.flush()
        self.successResultOf(changed)
        self.session().cut()
        self.run_for(2)
        self.assertTrue(client.connected)

    def test_change_password_refused(self) -> None:
        """A change that is refused leaves the old password in use."""
        client = self.connect(tokens=False)
        changed = client.change_password("wrong", "looking glass")
        self.flush()
        self.assertEqual(self.failureResultOf(changed, Refused).value.code, "wrong-password")
        self.session().cut()
        self.run_for(2)
        self.assertTrue(client.connected)

    def test_change_password_cut_anywhere(self) -> None:
        """When the connection breaks during the change, the client finds the right password."""
        for cut, tokens in ((1, False), (2, False), (1, True), (2, True)):
            self.setUp()
            client = self.connect(tokens=tokens)
            self.server.cuts = {self.server.step + cut}
            changed = client.change_password("wonderland", "looking glass")
            self.flush()
            self.failureResultOf(changed, Disconnected)
            self.run_for(2)
            self.assertTrue(client.connected, cut)
            self.session().cut()
            self.run_for(2)
            self.assertTrue(client.connected, cut)

    def test_too_large(self) -> None:
        """What the server would take for an attack is not asked; the conversation goes on."""
        client = self.connect()
        failure = self.failureResultOf(client.search("x" * 600_000), Refused)
        self.assertEqual(failure.value.code, "too-large")
        pong = client.ping()
        self.flush()
        self.successResultOf(pong)

    def test_delete_account(self) -> None:
        """After its account is deleted, the client stops without an error."""
        client = self.connect()
        deleted = client.delete_account("wonderland")
        self.flush()
        self.successResultOf(deleted)
        self.assertEqual(self.stopped, [None])
        self.run_for(100)
        self.assertEqual(self.line.attempts, 1)
        self.assertNotIn("alice", self.server.accounts)
