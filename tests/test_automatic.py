"""What programs write is not answered by programs: the server sees to it, not only the client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chat.ledger import Account
from chat.limits.echoes import SECONDS_EACH, TURNS
from chat.messages import Accepted, Failed, Frame, Message
from tests.world import open_world


class AutomaticCase(SynchronousTestCase):
    """Alice, Bob and Carol, or what they let run."""

    def setUp(self) -> None:
        """Sign them up."""
        self.world = open_world(self)
        self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")

    def program(self, sender: Account, recipient: str, answers: int = 0, ref: str | None = None) -> Frame:
        """A program writes; what it is told."""
        message = Message(recipient=recipient, body="I am away.", automatic=True, answers=answers, ref=ref)
        (answer,) = self.world.accept(sender, message)
        return answer

    def assertLoop(self, answer: Frame, ref: str | None = None) -> None:
        """It was refused as what no program is to say."""
        assert isinstance(answer, Failed), answer
        self.assertEqual((answer.code, answer.ref, answer.seconds), ("automatic-loop", ref, None))
        self.assertIn("was not sent", answer.reason)

    def ledger(self) -> int:
        """How many messages were ever accepted."""
        ((count,),) = self.world.sql("SELECT count(*) FROM ledger")
        return int(count)


class AnswerTests(AutomaticCase):
    """A program that says what it answers."""

    def test_program(self) -> None:
        """What a program wrote is not answered by one; a person may answer it."""
        id = self.world.send(self.alice, "bob", automatic=True).id
        self.assertLoop(self.program(self.bob, "alice", id, "c1"), "c1")
        self.assertLoop(self.program(self.bob, "carol", id))
        self.assertEqual(self.ledger(), 1)
        self.world.send(self.bob, "alice", answers=id)
        self.assertEqual(self.ledger(), 2)

    def test_person(self) -> None:
        """What a person wrote is."""
        id = self.world.send(self.alice, "bob").id
        self.assertIsInstance(self.program(self.bob, "alice", id), Accepted)

    def test_cameBack(self) -> None:
        """What came back is not, whoever wrote it."""
        id = self.world.send(self.alice, "nobody").id
        self.assertLoop(self.program(self.alice, "bob", id))

    def test_gone(self) -> None:
        """It is known for what it is when it has been confirmed, and when it was deleted."""
        id = self.world.send(self.alice, "bob", automatic=True).id
        self.world.confirm(self.bob, id)
        self.assertLoop(self.program(self.bob, "alice", id))
        self.world.result(self.world.mailroom.remove(self.bob, [id]))
        self.assertLoop(self.program(self.bob, "alice", id))

    def test_notMine(self) -> None:
        """What is said of messages that one has not received tells nothing of them."""
        id = self.world.send(self.alice, "bob", automatic=True).id
        for sender in (self.carol, self.alice):
            self.assertIsInstance(self.program(sender, "bob", id), Accepted)
        self.assertIsInstance(self.program(self.bob, "alice", 2**63 - 1), Accepted)

    def test_amongOthers(self) -> None:
        """The others of a batch are accepted, with ids that follow each other; also where a ref is known."""
        id = self.world.send(self.alice, "bob", automatic=True).id
        batch = [
            Message(recipient="alice", body="one", ref="r1"),
            Message(recipient="alice", body="two", ref="r2", automatic=True, answers=id),
            Message(recipient="alice", body="three", ref="r3"),
        ]
        for _ in range(2):
            one, two, three = self.world.accept(self.bob, *batch)
            assert isinstance(one, Accepted) and isinstance(three, Accepted)
            self.assertEqual((one.id, three.id, self.ledger()), (id + 1, id + 2, 3))
            self.assertLoop(two, "r2")

    def test_notTold(self) -> None:
        """What it answers is for the server: the recipient is not told."""
        id = self.world.send(self.alice, "bob").id
        self.world.send(self.bob, "alice", answers=id)
        (letter,) = self.world.waiting(self.alice)
        self.assertFalse(hasattr(letter, "answers"))


class EchoTests(AutomaticCase):
    """Programs that do not say it; see L{tests.test_echoes}."""

    def talk(self) -> None:
        """Two programs answer each other for as long as they may."""
        for number in range(TURNS):
            sender, recipient = ((self.alice, "bob"), (self.bob, "alice"))[number % 2]
            self.assertIsInstance(self.program(sender, recipient), Accepted)

    def test_ends(self) -> None:
        """They are told how long to wait, exactly; nothing is accepted meanwhile."""
        self.talk()
        refused = self.program(self.alice, "BOB", ref="c1")
        assert isinstance(refused, Failed)
        self.assertEqual((refused.code, refused.ref, refused.seconds), ("slow-down", "c1", SECONDS_EACH))
        self.assertIn(f"in {SECONDS_EACH:g} seconds", refused.reason)
        self.assertEqual(self.ledger(), TURNS)
        self.world.clock.advance(SECONDS_EACH)
        self.assertIsInstance(self.program(self.alice, "bob"), Accepted)

    def test_person(self) -> None:
        """A person's message between the two lets them go on; to others they may write as before."""
        self.talk()
        self.world.send(self.bob, "carol")
        self.assertIsInstance(self.program(self.alice, "carol"), Accepted)
        self.assertIsInstance(self.program(self.alice, "bob"), Failed)
        self.world.send(self.bob, "alice")
        self.assertIsInstance(self.program(self.alice, "bob"), Accepted)

    def test_refused(self) -> None:
        """What is refused for another reason is no turn; what could be nobody's name is none either."""
        for _ in range(2 * TURNS):
            message = Message(recipient="bob", body="x" * 100_000, automatic=True)
            (answer,) = self.world.accept(self.alice, message)
            assert isinstance(answer, Failed)
            self.assertEqual(answer.code, "too-large")
            self.assertIsInstance(self.program(self.alice, "no name"), Accepted)
        self.talk()
