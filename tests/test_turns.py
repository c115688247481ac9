"""Tests for L{chat.limits.turns}: who sends very much keeps nobody waiting who sends little."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Sequence

from twisted.trial.unittest import SynchronousTestCase

from chat.course import SENDS_UNDER_WAY
from chat.ledger import Account
from chat.limits.turns import FEW, HEARD, LASTS, LOOK_EVERY, PIECE, SETTLES, TOGETHER, Turns
from chat.messages import Accepted, Failed, Fatal, Frame, Message
from chat.store.commit import RETRY_SECONDS
from chat.wire.translator import FRAMES_AT_ONCE
from tests.network import Network
from tests.talker import keywords, password
from tests.world import Onlooker, open_world

ALICE, BOB, CAROL, MALLORY = range(1, 5)


class TurnsCase(SynchronousTestCase):
    """Senders in front of a ledger that takes what goes when the test wants it."""

    def setUp(self) -> None:
        """Nobody has sent anything."""
        self.now = 1000.0
        self.full = False
        self.turns = Turns(lambda: self.now, lambda: self.full)
        self.gone: list[tuple[int, int]] = []

    def send(self, account: int, count: int) -> int:
        """Send so many messages, in pieces; how many of them went at once."""
        before = sum(size for who, size in self.gone if who == account)
        piece = self.turns.piece(account, count)
        while count:
            size = min(piece, count)
            self.turns.enter(account, size, partial(self.gone.append, (account, size)))
            count -= size
        return sum(size for who, size in self.gone if who == account) - before

    def arrive(self, times: int = 1) -> None:
        """The first of what went is in the ledger."""
        for _ in range(times):
            self.turns.leave(*self.gone.pop(0))

    def flood(self, account: int = MALLORY) -> int:
        """Somebody sends very much, when somebody else has sent something before; what goes at once."""
        self.send(ALICE, 1)
        self.arrive()
        self.send(account, FEW + 1)
        self.arrive()
        self.now += 2 * SETTLES
        return self.send(account, 500)


class AloneTests(TurnsCase):
    """When nobody need be spared."""

    def test_alone(self) -> None:
        """Who is alone sends as much as it likes, at once and as one piece."""
        self.assertEqual(self.send(MALLORY, 5000), 5000)
        self.assertEqual(self.gone, [(MALLORY, 5000)])
        self.assertFalse(self.turns.waits(MALLORY))

    def test_allMuch(self) -> None:
        """Nor is anything held back where everybody sends much."""
        self.send(ALICE, FEW + 1)
        self.assertEqual(self.send(MALLORY, 5000), 5000)

    def test_allFew(self) -> None:
        """Nor where many send little, which is much together."""
        for account in range(1000):
            self.assertEqual(self.send(account, FEW), FEW)

    def test_longAgo(self) -> None:
        """Who has not sent anything for a minute is not waited for."""
        self.send(ALICE, 1)
        self.now += HEARD + 1
        self.assertEqual(self.send(MALLORY, 5000), 5000)

    def test_muchLongAgo(self) -> None:
        """Nor is anything kept of those."""
        self.send(ALICE, 100)
        self.now += HEARD + 1
        self.send(MALLORY, 100)
        self.now += 1
        self.send(MALLORY, 100)
        self.assertEqual((list(self.turns._heard), list(self.turns._much)), ([MALLORY], [MALLORY]))

    def test_listeners(self) -> None:
        """Who only confirms what he gets is not waited for, but has his turn like others who confirm much."""
        self.turns.piece(ALICE, 1, heard=False)
        self.now += 2 * SETTLES
        self.assertEqual(self.send(MALLORY, 500), 500)
        self.arrive()
        self.now += LASTS
        self.flood(BOB)
        self.assertEqual(self.turns.piece(MALLORY, 100, heard=False), PIECE)


class FloodTests(TurnsCase):
    """When some send much and others do not."""

    def test_pieces(self) -> None:
        """Who sends much goes in pieces, few of them at a time, and all of it in its order."""
        self.assertEqual(self.flood(), TOGETHER)
        self.assertTrue(self.turns.waits(MALLORY))
        self.arrive()
        self.assertEqual(sum(size for _, size in self.gone), TOGETHER)
        self.arrive(500 // PIECE)
        self.assertEqual((self.gone, self.turns.waits(MALLORY)), ([], False))

    def test_others(self) -> None:
        """What others send goes at once."""
        self.flood()
        for account in (ALICE, BOB, CAROL):
            self.assertEqual(self.send(account, FEW), FEW)

    def test_fair(self) -> None:
        """Of those who send much each has its turn, however much the others have sent before."""
        self.flood()
        self.assertEqual(self.send(BOB, 2 * PIECE), 0)
        self.assertEqual(self.send(CAROL, 2 * PIECE), 0)
        order = []
        for _ in range(7):
            self.arrive()
            order.append(self.gone[-1][0])
        self.assertEqual(order, [MALLORY, BOB, CAROL] * 2 + [MALLORY])

    def test_behind(self) -> None:
        """What an account sends goes behind what it has sent before, be it little."""
        self.flood()
        self.assertEqual(self.send(MALLORY, 1), 0)
        self.arrive(500 // PIECE + 1)
        self.assertEqual(self.gone, [(MALLORY, 1)])

    def test_over(self) -> None:
        """Once nobody sends little any more, all that waits goes."""
        self.flood()
        self.now += HEARD - LASTS / 2
        self.send(MALLORY, FEW + 1)
        self.now += LASTS
        self.arrive()
        self.assertFalse(self.turns.waits(MALLORY))

    def test_full(self) -> None:
        """Nor is anything held back while something waits for room on the disk, which may take long."""
        self.flood()
        self.full = True
        self.now += 2 * LOOK_EVERY
        self.assertEqual(self.send(MALLORY, 1), 500 - TOGETHER + 1)
        self.assertEqual(self.send(MALLORY, 500), 500)

    def test_calm(self) -> None:
        """Who has sent much, and does not any more, is one of the others again."""
        self.flood()
        self.arrive(500 // PIECE + 1)
        self.now += LASTS
        self.send(BOB, 500)
        self.assertEqual(self.send(MALLORY, FEW), FEW)

    def test_lookedSeldom(self) -> None:
        """Whether there is anybody to be spared is looked at now and then: that may be a while ago."""
        self.flood()
        self.arrive(500 // PIECE + 1)
        self.send(ALICE, 500)
        self.assertEqual(self.send(MALLORY, 500), 0)
        self.now += 2 * LOOK_EVERY
        self.arrive()
        self.assertFalse(self.turns.waits(MALLORY))

    def test_settles(self) -> None:
        """Nothing is held back in the moment in which all begin to send much: some are the first."""
        self.send(ALICE, 1)
        for _ in range(4):
            self.assertEqual(self.send(MALLORY, 500), 500)
            self.now += LOOK_EVERY
        self.send(ALICE, 500)
        self.now += SETTLES
        self.assertEqual(self.send(MALLORY, 500), 500)

    def test_failing(self) -> None:
        """What fails at once lets the next one go, and be it thousands."""
        self.flood()
        failed = []

        def fail() -> None:
            failed.append(1)
            self.turns.leave(MALLORY, 1)

        for _ in range(5000):
            self.turns.enter(MALLORY, 1, fail)
        self.assertEqual(failed, [])
        self.arrive(500 // PIECE + 1)
        self.assertEqual((len(failed), self.gone), (5000, []))


class MailroomTests(SynchronousTestCase):
    """What becomes of a batch that goes in pieces."""

    def setUp(self) -> None:
        """Alice sends little, Mallory much."""
        self.world = open_world(self)
        self.alice, self.bob, self.mallory = self.world.sign_up("alice", "bob", "mallory")
        self.world.send(self.alice, "bob")
        self.world.accept(self.mallory, *self.messages(FEW + 1))
        self.world.clock.advance(2 * SETTLES)
        self.world.accept(self.mallory, *self.messages(FEW + 1))
        self.answers: list[Frame] = []
        self.broken: list[Exception] = []

    def messages(self, count: int, recipient: str = "bob") -> list[Message]:
        """So many messages."""
        return [Message(recipient=recipient, body=str(number)) for number in range(count)]

    def accept(self, sender: Account, messages: list[Message]) -> None:
        """Send them together, and do not wait for what comes of it."""
        self.world.mailroom.accept(sender, messages, self.answers.extend, self.broken.append)

    def test_others(self) -> None:
        """Another's message goes with the first pieces, not behind the last."""
        self.accept(self.mallory, self.messages(500))
        self.assertTrue(self.world.mailroom.waits(self.mallory))
        before = FEW + 1 + FEW + 1 + 1
        self.assertEqual(self.world.send(self.alice, "bob").id, before + TOGETHER + 1)
        self.assertFalse(self.world.mailroom.waits(self.mallory))

    def test_answers(self) -> None:
        """The answers come in the order of the messages; what is refused has its place."""
        messages = self.messages(100)
        for number in (*range(40, 60), 99):
            messages[number] = Message(recipient="bob", body="x" * 100_000)
        self.accept(self.mallory, messages)
        self.assertEqual(self.answers, [])
        self.world.settle()
        kinds = [type(each) for each in self.answers]
        self.assertEqual(kinds, [Accepted] * 40 + [Failed] * 20 + [Accepted] * 39 + [Failed])
        ids = [each.id for each in self.answers if isinstance(each, Accepted)]
        self.assertEqual(ids, list(range(ids[0], ids[0] + 79)))
        self.assertEqual(self.world.mailroom.under_way, 0)

    def test_goneSender(self) -> None:
        """An account that is deleted meanwhile is told so once; what was accepted before stays accepted."""
        self.accept(self.mallory, self.messages(100))
        self.world.start(self.world.store.leave(self.mallory))
        self.world.settle()
        *accepted, gone = self.answers
        assert isinstance(gone, Fatal)
        self.assertEqual((gone.code, len(accepted)), ("account-gone", TOGETHER))

    def test_noRoom(self) -> None:
        """What there is no room for is refused, each with its ref; what found some is accepted."""
        self.world.pool.room = 1
        self.accept(self.mallory, [Message(recipient="bob", body="x", ref=f"c{n}") for n in range(100)])
        self.world.settle()
        self.assertEqual([type(each) for each in self.answers], [Accepted] * TOGETHER + [Failed] * 68)
        refs = [each.ref for each in self.answers if isinstance(each, (Accepted, Failed))]
        self.assertEqual(refs, [f"c{n}" for n in range(100)])

    def test_answeredAsTheyAre(self) -> None:
        """What the first pieces brought is answered before anybody is shown it, not with the last piece."""
        bob = Onlooker(self.world, self.bob).enter()
        bob.shown.clear()
        known: list[int] = []

        def shown(frames: Sequence[Frame]) -> None:
            ids = {each.id for each in self.answers if isinstance(each, Accepted)}
            known.extend(each.id for each in frames if isinstance(each, Message) and each.id in ids)

        self.patch(bob, "send", shown)
        self.accept(self.mallory, self.messages(100))
        self.world.settle()
        self.assertEqual(len(known), 100)

    def test_broken(self) -> None:
        """An error of the store is told once, and nothing is answered; others go on."""
        self.accept(self.mallory, self.messages(100))
        now, self.world.store._intake._now = self.world.store._intake._now, lambda: 1 // 0
        self.world.settle()
        self.flushLoggedErrors(ZeroDivisionError)
        self.world.store._intake._now = now
        self.assertEqual(([type(each) for each in self.broken], self.answers), ([ZeroDivisionError], []))
        self.assertFalse(self.world.mailroom.waits(self.mallory))
        self.world.send(self.mallory, "bob")

    def test_partlyBroken(self) -> None:
        """Also when the first pieces were accepted; those stay accepted, and were said to be."""
        self.accept(self.mallory, self.messages(100))
        now = self.world.store._intake._now
        times = iter([now])
        self.patch(self.world.store._intake, "_now", lambda: next(times, lambda: 1 // 0)())
        self.world.settle()
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual([type(each) for each in self.broken], [ZeroDivisionError])
        self.assertEqual([type(each) for each in self.answers], [Accepted] * TOGETHER)

    def test_full(self) -> None:
        """Receipts that wait for room on the disk keep nobody waiting: what is sent is refused at once."""
        world = self.world
        for number in range(TOGETHER + 5):
            world.send(self.alice, "mallory", str(number))
        self.accept(self.mallory, self.messages(500))
        world.pool.room = 0
        for letter in world.waiting(self.mallory):
            world.mailroom.confirm(self.mallory, [letter.id], lambda: None, self.broken.append)
        world.settle()
        self.assertEqual(len(self.answers), 500)
        world.clock.advance(2 * SETTLES)
        world.mailroom._turns.piece(self.alice.id, 1)
        self.accept(self.mallory, self.messages(500))
        world.settle()
        self.assertFalse(world.mailroom.waits(self.mallory))
        self.assertEqual(len(self.answers), 1000)
        world.pool.room = None
        world.clock.advance(2 * RETRY_SECONDS)
        world.settle()
        self.assertEqual((world.mailroom._turns._together, self.broken), (0, []))

    def test_receipts(self) -> None:
        """Very many receipts go in pieces, too, and it is said once when all of them are written."""
        for _ in range(20):
            self.world.accept(self.alice, *self.messages(5, "mallory"))
        ids = [letter.id for letter in self.world.waiting(self.mallory)]
        done: list[None] = []
        self.accept(self.mallory, self.messages(500))
        self.world.mailroom.confirm(self.mallory, ids * 3, lambda: done.append(None), self.broken.append)
        self.assertTrue(self.world.mailroom.waits(self.mallory))
        self.world.send(self.alice, "bob")
        self.assertEqual((done, self.world.waiting(self.mallory)), ([None], []))

    def test_brokenReceipts(self) -> None:
        """Those that cannot be written keep nothing from having its turn."""
        self.patch(self.world.store._settlement, "_now", lambda: 1 // 0)
        self.world.mailroom.confirm(self.mallory, [1], lambda: None, self.broken.append)
        self.world.settle()
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual([type(each) for each in self.broken], [ZeroDivisionError])
        self.assertEqual(self.world.mailroom._turns._together, 0)


class SessionTests(SynchronousTestCase):
    """What is asked behind what waits for its turn."""

    def setUp(self) -> None:
        """Alice sends little, Mallory much."""
        self.network = network = Network(Path(self.mktemp()))
        self.addCleanup(network.close)
        self.alice, self.mallory = network.user("alice"), network.user("mallory")
        self.alice.send("bob", "hello")
        self.alice.hear()
        for _ in range(2):
            for number in range(FEW + 1):
                self.mallory.send("bob", str(number))
            self.mallory.hear()
            network.pass_time(2 * SETTLES)

    def test_receipts(self) -> None:
        """It is answered behind the receipts, and knows of them."""
        for number in range(500):
            self.alice.send("mallory", str(number))
        self.network.settle()
        ids = [frame["id"] for frame in self.mallory.hear()]
        self.assertEqual(len(ids), 500)
        self.network.pass_time(LASTS)
        self.alice.send("bob", "hello")
        for some in (ids[:100], ids[100:]):
            self.mallory.received(*some)
            self.mallory.system("list", box="inbox", limit=1000, after=ids[0] - 1)
            self.network.pass_time(2 * SETTLES)
        self.assertEqual({entry["state"] for entry in self.mallory.hear()[-1]["messages"]}, {"delivered"})

    def test_behind(self) -> None:
        """It is answered behind the sends, and knows of them."""
        mallory = self.mallory
        for number in range(100):
            mallory.send("bob", str(number))
        mallory.system("list", box="sent", limit=1000)
        mallory.system("ping")
        heard = mallory.hear()
        words = [frame["keyword"] for frame in heard if "keyword" in frame]
        self.assertEqual(words, ["accepted"] * 100 + ["listing", "pong"])
        self.assertEqual(len(heard[-2]["messages"]), 2 * (FEW + 1) + 100)

    def flood(self) -> None:
        """Mallory sends a hundred messages in one go."""
        one = self.mallory.encoded("message", recipient="mallory", body="hi")
        self.mallory.write(one * 100)

    def test_acceptedFirst(self) -> None:
        """A sender hears that a message was accepted before it hears anything else of it."""
        self.flood()
        heard = self.mallory.hear()
        accepted = {frame["id"]: place for place, frame in enumerate(heard) if "keyword" in frame}
        shown = {frame["id"]: place for place, frame in enumerate(heard) if "body" in frame}
        self.assertEqual((len(accepted), accepted.keys()), (100, shown.keys()))
        self.assertEqual([id for id, place in shown.items() if place < accepted[id]], [])

    def begin(self) -> None:
        """The same, until some of them are accepted."""
        self.network.disk.seconds = 0.001
        self.flood()
        said: list[str] = []
        while "accepted" not in said:
            self.network.pass_time(0.001)
            said += keywords(self.mallory.hear())
        self.assertLess(said.count("accepted"), 100)

    def finish(self) -> None:
        """Let the rest be written."""
        for _ in range(100):
            self.network.pass_time(0.001)
        self.network.disk.seconds = 0.0
        self.assertEqual(self.network.mailroom.under_way, 0)

    def test_refusedInTheMiddle(self) -> None:
        """What is refused at once waits, with its answer, for those of what was sent before."""
        self.flood()
        long = self.mallory.encoded("message", recipient="bob", body="x" * 65537)
        good = self.mallory.encoded("message", recipient="bob", body="x")
        self.mallory.write(long * 3 * PIECE + good * 20)
        words = [word for word in keywords(self.mallory.hear()) if word != "message"]
        expected = ["accepted"] * 100 + ["failed too-large"] * 3 * PIECE + ["accepted"] * 20
        self.assertEqual(words, expected)

    def test_inOrder(self) -> None:
        """What is refused at once lets nothing that comes behind the batch overtake the rest of it."""
        self.mallory.wire.window = 10**9
        refused = self.mallory.encoded("message", recipient="bob", body="x", ref="x" * 65)
        good = self.mallory.encoded("message", recipient="bob", body="x")
        first = SENDS_UNDER_WAY + PIECE - SENDS_UNDER_WAY % PIECE
        self.mallory.write(refused * first + good * (FRAMES_AT_ONCE - first + 10))
        ids = [frame["id"] for frame in self.mallory.hear() if frame.get("keyword") == "accepted"]
        self.assertEqual(len(ids), FRAMES_AT_ONCE - first + 10)
        self.assertEqual(ids, sorted(ids))

    def test_lostInTheMiddle(self) -> None:
        """A connection that is lost between two pieces harms nobody; all of them are accepted."""
        self.begin()
        self.mallory.hang_up()
        self.finish()
        welcome = self.network.connect().log_in("mallory")[0]
        self.assertEqual(welcome["waiting"], 2 * (FEW + 1) + 100)

    def test_failsInTheMiddle(self) -> None:
        """A session that fails between two pieces says so, and nothing after that."""
        self.mallory.clings = True
        self.begin()
        self.mallory.protocol._session.fail()
        self.assertEqual(keywords(self.mallory.hear()), ["fatal internal-error"])
        self.finish()
        self.assertEqual(self.mallory.hear(), [])

    def test_goneInTheMiddle(self) -> None:
        """A sender whose account is deleted between two pieces is told so once, behind what was accepted."""
        other = self.network.user("mallory")
        other.hear()
        self.network.disk.seconds = 0.001
        other.system("delete-account", password=password("mallory"))
        self.flood()
        said: list[str] = []
        for _ in range(100):
            self.network.pass_time(0.001)
            said += keywords(self.mallory.hear())
        self.assertEqual((said[-1], said.count("fatal account-gone")), ("fatal account-gone", 1))
        self.assertIn(said.count("accepted"), range(1, 100))

    def test_refusedBehind(self) -> None:
        """What comes behind a command that is refused the moment it has its turn is taken."""
        mallory = self.mallory
        for refused in (
            {"keyword": "list", "box": "attic"},
            {"keyword": "search", "query": ""},
            {"keyword": "pong"},
        ):
            for number in range(100):
                mallory.send("bob", str(number))
            mallory.system(**refused)
            mallory.system("ping")
            mallory.send("bob", "last")
            words = [word for word in keywords(mallory.hear()) if word != "message"]
            self.assertEqual(words[:100] + words[101:], ["accepted"] * 100 + ["pong", "accepted"])
            self.network.pass_time(LASTS)
            self.alice.send("bob", "hello")
            self.alice.hear()
            for _ in range(2):
                for number in range(FEW + 1):
                    mallory.send("bob", str(number))
                mallory.hear()
                self.network.pass_time(2 * SETTLES)
