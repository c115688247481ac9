"""Conversations, as protocol.md has them, with the whole server in memory; in JSON and in DER."""

from __future__ import annotations

import json
import re

from chat.accounts import Registration
from chat.limits.allowance import UNLIMITED, Allowance, Rate
from chat.wire import Codec
from tests.network import DAY, Client, Network, NetworkTestCase
from tests.talker import Said, keywords, password

TIME = "2026-11-22T21:07:00.123Z"
DELETED = {
    "code": "account-deleted",
    "recipient": "bob",
    "note": "The account was deleted before it took the message.",
}
UNKNOWN = "There is no account of that name here. Check the spelling and send again."


def messages(frames: list[Said]) -> list[Said]:
    """The messages among these frames."""
    return [frame for frame in frames if "keyword" not in frame]


class WordForWordTests(NetworkTestCase):
    """The lines of protocol.md, as they are written there."""

    def play(self, script: str) -> None:
        """Play a script of C{NAME> line} said by a client and C{NAME< line} heard by it, all of it."""
        clients: dict[str, Client] = {}
        heard: dict[str, list[Said]] = {}
        for step in filter(None, map(str.strip, script.splitlines())):
            name, arrow, line = re.fullmatch(r"(\w+)([<>]) (.*)", step).groups()  # type: ignore[union-attr]
            if name not in clients:
                clients[name] = self.network.client()
                heard[name] = []
            if arrow == ">":
                clients[name].write(line.encode() + b"\n")
                continue
            for other, client in clients.items():
                heard[other] += client.hear()
            self.assertTrue(heard[name], f"nothing was heard where this should be: {step}")
            self.assertEqual(heard[name].pop(0), json.loads(line)["data"], step)
        self.assertEqual({name: rest for name, rest in heard.items() if rest}, {})

    def test_conversation(self) -> None:
        """Alice signs up, logs in and writes to Bob, who is away and comes back."""
        self.network.user("bob").hang_up()
        self.play(
            """
            a< {"type":"system","data":{"keyword":"version","protocol":1,"server":"chat test"}}
            a< {"type":"system","data":{"keyword":"username"}}
            a> {"type":"login","data":{"field":"username","value":"Alice"}}
            a< {"type":"system","data":{"keyword":"new-password"}}
            a> {"type":"login","data":{"field":"password","value":"correct horse"}}
            a< {"type":"system","data":{"keyword":"created","username":"alice"}}
            a< {"type":"system","data":{"keyword":"username"}}
            a> {"type":"login","data":{"field":"username","value":"alice"}}
            a< {"type":"system","data":{"keyword":"password"}}
            a> {"type":"login","data":{"field":"password","value":"wrong horse"}}
            a< {"type":"system","data":{"keyword":"failed","code":"wrong-password","reason":"Wrong user name or password."}}
            a< {"type":"system","data":{"keyword":"username"}}
            a> {"type":"login","data":{"field":"username","value":"alice"}}
            a< {"type":"system","data":{"keyword":"password"}}
            a> {"type":"login","data":{"field":"password","value":"correct horse"}}
            a< {"type":"system","data":{"keyword":"welcome","username":"alice","waiting":0}}
            a> {"type":"message","data":{"recipient":"bob","subject":"hi","body":"...","ref":"c1"}}
            a< {"type":"system","data":{"keyword":"accepted","ref":"c1","id":1,"time":"2026-11-22T21:07:00.123Z","state":"waiting"}}
            b< {"type":"system","data":{"keyword":"version","protocol":1,"server":"chat test"}}
            b< {"type":"system","data":{"keyword":"username"}}
            b> {"type":"login","data":{"field":"username","value":"bob"}}
            b> {"type":"login","data":{"field":"password","value":"password of bob"}}
            b< {"type":"system","data":{"keyword":"password"}}
            b< {"type":"system","data":{"keyword":"welcome","username":"bob","waiting":1}}
            b< {"type":"message","data":{"id":1,"sender":"alice","recipient":"bob","time":"2026-11-22T21:07:00.123Z","subject":"hi","body":"..."}}
            b> {"type":"system","data":{"keyword":"received","ids":[1]}}
            a> {"type":"message","data":{"recipient":"bob","body":"more","receipt":true}}
            a< {"type":"system","data":{"keyword":"accepted","id":2,"time":"2026-11-22T21:07:00.123Z","state":"waiting"}}
            b< {"type":"message","data":{"id":2,"sender":"alice","recipient":"bob","time":"2026-11-22T21:07:00.123Z","body":"more"}}
            b> {"type":"system","data":{"keyword":"received","ids":[2]}}
            a< {"type":"system","data":{"keyword":"delivered","ids":[2],"time":"2026-11-22T21:07:00.123Z"}}
            a> {"type":"message","data":{"recipient":"Bobby","body":"who?","ref":"c3"}}
            a< {"type":"system","data":{"keyword":"accepted","ref":"c3","id":3,"time":"2026-11-22T21:07:00.123Z","state":"returned"}}
            a< {"type":"message","data":{"id":3,"sender":"alice","recipient":"alice","time":"2026-11-22T21:07:00.123Z","body":"who?","returned":{"code":"unknown-recipient","recipient":"bobby","note":"There is no account of that name here. Check the spelling and send again."}}}
            a> {"type":"system","data":{"keyword":"list","box":"sent","after":0,"limit":100}}
            a< {"type":"system","data":{"keyword":"listing","box":"sent","messages":[{"id":1,"sender":"alice","recipient":"bob","time":"2026-11-22T21:07:00.123Z","subject":"hi","state":"delivered"},{"id":2,"sender":"alice","recipient":"bob","time":"2026-11-22T21:07:00.123Z","state":"delivered"},{"id":3,"sender":"alice","recipient":"bobby","time":"2026-11-22T21:07:00.123Z","state":"returned","returned":{"code":"unknown-recipient","recipient":"bobby","note":"There is no account of that name here. Check the spelling and send again."}}],"more":false}}
            b> {"type":"system","data":{"keyword":"read","ids":[1,9]}}
            b< {"type":"system","data":{"keyword":"messages","messages":[{"id":1,"sender":"alice","recipient":"bob","time":"2026-11-22T21:07:00.123Z","subject":"hi","body":"...","state":"delivered"}],"missing":[9]}}
            b> {"type":"system","data":{"keyword":"delete","ids":[1,9]}}
            b< {"type":"system","data":{"keyword":"deleted","ids":[1],"missing":[9]}}
            b> {"type":"system","data":{"keyword":"ping"}}
            b< {"type":"system","data":{"keyword":"pong"}}
            b> {"type":"system","data":{"keyword":"delete-account","password":"password of bob"}}
            b< {"type":"system","data":{"keyword":"account-deleted"}}
            b< {"type":"system","data":{"keyword":"username"}}
            a> {"type":"system","data":{"keyword":"quit"}}
            a< {"type":"system","data":{"keyword":"bye"}}
            """  # noqa: E501
        )


class JSONTests(NetworkTestCase):
    """Each sentence of protocol.md, in JSON."""

    codec = Codec.JSON

    def user(self, name: str) -> Client:
        """A client that is logged in, in the codec of these tests."""
        return self.network.user(name, self.codec)

    def away(self, *names: str) -> None:
        """These have accounts and are not here."""
        for name in names:
            self.user(name).hang_up()

    # --- login ---

    def test_namesArePrepared(self) -> None:
        """Names that the server sends are in their prepared form, however they were typed."""
        client = self.network.connect(self.codec)
        client.say_login("ALICE", "correct horse")
        heard = self.assertHears(client, "new-password", "created", "username")
        self.assertEqual(heard[1]["username"], "alice")
        client.say_login("aLiCe", "correct horse")
        heard = self.assertHears(client, "password", "welcome")
        self.assertEqual(heard[1], {"keyword": "welcome", "username": "alice", "waiting": 0})
        client.send("Alice", "to me")
        (accepted, message) = client.hear()
        self.assertEqual(accepted["state"], "waiting")
        self.assertEqual((message["sender"], message["recipient"]), ("alice", "alice"))

    def test_refusedBeforeLogin(self) -> None:
        """A refusal before the login is followed by the prompt again, whichever it is."""
        self.away("alice")
        client = self.network.connect(self.codec)
        client.send("alice", "hi", ref="c1")
        heard = self.assertHears(client, "failed bad-state", "username")
        self.assertEqual(heard[0]["ref"], "c1")
        client.answer("username", "alice")
        self.assertHears(client, "password")
        client.system("ping")
        self.assertHears(client, "failed bad-state", "password")
        client.answer("password", password("alice"))
        self.assertHears(client, "welcome")
        client.answer("username", "alice")
        self.assertHears(client, "failed bad-state")

    def test_closedRegistration(self) -> None:
        """When nobody may sign up, known and unknown names get the same prompts, work and answers."""
        self.away("alice")
        self.network.close()
        self.network = Network(self.network.data, registration=Registration.CLOSED)
        self.addCleanup(self.network.close)
        answers = []
        hashed = []
        for name in ("alice", "nobody", "Alice", "NOBODY"):
            client = self.network.connect(self.codec)
            client.answer("username", name)
            answers.append(client.hear())
            self.network.hashing.slow = True
            client.answer("password", "not the password")
            answers.append(client.hear())
            hashed.append(self.network.hashing.waiting)
            self.network.hashing.finish()
            self.network.hashing.slow = False
            answers.append(client.hear())
        self.assertEqual(answers[:3], answers[3:6])
        self.assertEqual(answers[:6], answers[6:])
        self.assertEqual(hashed, [1, 1, 1, 1])
        self.assertEqual(keywords(answers[0]), ["password"])
        self.assertEqual(keywords(answers[2]), ["failed wrong-password", "username"])
        self.assertEqual(keywords(self.network.connect().log_in("alice")), ["welcome"])

    # --- accept and deliver ---

    def test_acceptedAfterCommit(self) -> None:
        """Nobody is told C{accepted}, and nobody shown the message, before it is on disk."""
        bob, alice = self.user("bob"), self.user("alice")
        self.network.disk.seconds = 1.0
        alice.send("bob", "hi")
        self.assertHears(alice)
        self.assertHears(bob)
        self.network.pass_time(1)
        self.assertHears(alice, "accepted")
        self.assertHears(bob, "message")

    def test_lostBeforeCommit(self) -> None:
        """What was not committed when the server was killed was not accepted, and is not there."""
        self.away("bob")
        alice = self.user("alice")
        alice.send("bob", "one")
        self.assertHears(alice, "accepted")
        alice.send("bob", "two")
        self.network.kill()
        self.network = Network(self.network.data, clock=self.network.clock)
        bob = self.user("bob")
        self.assertEqual(bob.hear(), [])
        bob.system("list", box="inbox")
        self.assertEqual([entry["id"] for entry in bob.hear()[0]["messages"]], [1])

    def test_manySends(self) -> None:
        """Many sends may be under way; their answers come in their order, and so do the messages."""
        bob, alice = self.user("bob"), self.user("alice")
        for number in range(300):
            alice.send("bob" if number % 3 else "nobody", str(number), ref=str(number))
        heard = alice.hear()
        accepted = [frame for frame in heard if frame.get("keyword") == "accepted"]
        self.assertEqual([int(frame["ref"]) for frame in accepted], list(range(300)))
        self.assertEqual([frame["id"] for frame in accepted], list(range(1, 301)))
        states = {frame["state"] for frame in accepted}
        self.assertEqual(states, {"waiting", "returned"})
        self.assertEqual([int(frame["body"]) for frame in bob.hear()], [n for n in range(300) if n % 3])
        self.assertEqual([int(frame["body"]) for frame in messages(heard)], list(range(0, 300, 3)))

    def allow(self, each: float, burst: float) -> None:
        """So many messages a second for each account, and so many at once."""
        rate = Rate(each, burst)
        self.network.mailroom._allowance = Allowance(self.network.clock.seconds, rate, UNLIMITED)

    def send_together(self, client: Client, number: int) -> None:
        """Send so many messages to Bob in one piece."""
        sends = [client.encoded("message", recipient="bob", body="hi", ref=str(n)) for n in range(number)]
        client.write(b"".join(sends))

    def test_tooFast(self) -> None:
        """Who sends more than it may is heard more slowly; nobody else is."""
        self.allow(2, 5)
        bob, alice = self.user("bob"), self.user("alice")
        self.send_together(alice, 8)
        alice.system("ping")
        self.assertEqual(keywords(alice.hear()), ["accepted"] * 8)
        bob.send("alice", "hi")
        self.assertHears(bob, *["message"] * 8, "accepted")
        self.network.pass_time(1.4)
        self.assertHears(alice, "message")
        self.network.pass_time(0.2)
        self.assertHears(alice, "pong")

    def test_farTooFast(self) -> None:
        """What would have to wait for too long is refused, with the seconds; then it is accepted."""
        self.allow(2, 5)
        self.user("bob")
        alice = self.user("alice")
        self.send_together(alice, 30)
        heard = alice.hear()
        self.assertEqual(keywords(heard), ["accepted"] * 26 + ["failed slow-down"] * 4)
        self.assertEqual([frame["ref"] for frame in heard], [str(number) for number in range(30)])
        self.assertEqual({frame["seconds"] for frame in heard[26:]}, {1})
        self.network.pass_time(11)
        alice.send("bob", "hi", ref="26")
        (accepted,) = alice.hear()
        self.assertEqual((accepted["ref"], accepted["id"]), ("26", 27))

    def test_farTooFastAndTooLong(self) -> None:
        """What could be accepted at no pace is refused for that; what is too long in it is not said again."""
        self.allow(2, 5)
        alice = self.user("alice")
        sends = [alice.encoded("message", recipient="bob", body="hi") for _ in range(26)]
        long = alice.encoded("message", recipient="bob", body="hi", ref="x" * 65)
        alice.write(b"".join([*sends, long]))
        answers = [frame for frame in alice.hear() if "body" not in frame]
        self.assertEqual(keywords(answers), ["accepted"] * 26 + ["failed too-large"])
        self.assertNotIn("ref", answers[26])

    def test_tooFastInSeveralSessions(self) -> None:
        """An account has one allowance, however many sessions."""
        self.allow(2, 5)
        self.user("bob")
        clients = [self.user("alice") for _ in range(3)]
        for client in clients:
            self.send_together(client, 10)
        heard = [keywords(client.hear()) for client in clients]
        self.assertEqual([each.count("accepted") for each in heard], [10, 10, 6])
        self.assertEqual(heard[2].count("failed slow-down"), 4)

    def test_stopWhileTooFast(self) -> None:
        """A session that is not heard for a while is told the last word all the same."""
        self.allow(2, 5)
        alice = self.user("alice")
        self.send_together(alice, 8)
        alice.hear()
        self.network.doors[self.codec.value].shut_down()
        self.assertHears(alice, "fatal shutting-down")
        self.network.pass_time(2)

    def test_mixedPipeline(self) -> None:
        """Sends under way, bad frames, pings, lists and deletes: each is answered in its turn."""
        alice = self.user("alice")
        bad = {"json": b'{"type":"message","data":{"ref":"b"}}\n', "der": b"\xaa\x00"}[self.codec.value]
        expected = []
        for number in range(50):
            alice.send("nobody", "hi", ref=f"{number}")
            alice.send("nobody", "x" * 65537, ref=f"long {number}")
            alice.write(bad)
            alice.system("ping")
            alice.system("list", box="sent", limit=1, after=number)
            alice.system("delete", ids=[number + 1])
            alice.system("list", box="attic")
            expected += ["accepted", "failed too-large", "failed bad-frame", "pong", "listing", "deleted"]
            expected += ["failed bad-frame"]
        heard = [frame for frame in alice.hear() if "keyword" in frame]
        self.assertEqual(keywords(heard), expected)
        self.assertEqual([frame["ref"] for frame in heard[0::7]], [str(n) for n in range(50)])
        self.assertEqual([frame["ref"] for frame in heard[1::7]], [f"long {n}" for n in range(50)])

    def test_waitingMessages(self) -> None:
        """Waiting messages are delivered right after C{welcome}, oldest first; later ones as they come."""
        self.away("bob")
        alice = self.user("alice")
        for number in range(1, 6):
            alice.send("bob", str(number))
        self.assertHears(alice, *["accepted"] * 5)
        bob = self.network.connect(self.codec)
        heard = bob.log_in("bob")
        self.assertEqual(heard[0], {"keyword": "welcome", "username": "bob", "waiting": 5})
        self.assertEqual([frame["body"] for frame in heard[1:]], ["1", "2", "3", "4", "5"])
        alice.send("bob", "6")
        self.assertHears(alice, "accepted")
        self.assertEqual([frame["body"] for frame in bob.hear()], ["6"])

    def test_notConfirmed(self) -> None:
        """What is not confirmed is delivered again at the next login, with the same id; else never again."""
        bob, alice = self.user("bob"), self.user("alice")
        alice.send("bob", "one")
        alice.send("bob", "two")
        self.assertHears(alice, "accepted", "accepted")
        first, second = bob.hear()
        self.assertNotIn("again", first)
        bob.received(first["id"])
        bob.hear()
        bob.hang_up()
        heard = self.network.connect(self.codec).log_in("bob")
        self.assertEqual(
            heard, [{"keyword": "welcome", "username": "bob", "waiting": 1}, {**second, "again": True}]
        )

    def test_unaltered(self) -> None:
        """Subjects and bodies arrive unaltered, control characters and line ends included."""
        bob, alice = self.user("bob"), self.user("alice")
        body = "".join(map(chr, range(256))) + "\r\n\t\u2028\ufeff\U0001f4a9\U0010ffff e\u0301"
        alice.send("bob", body, subject="\x1b[31m\0\x7f")
        alice.send("bob", "", subject="")
        self.assertHears(alice, "accepted", "accepted")
        first, second = bob.hear()
        self.assertEqual((first["subject"], first["body"]), ("\x1b[31m\0\x7f", body))
        self.assertEqual((second.get("subject"), second["body"]), ("", ""))

    def test_subjectMayBeAbsent(self) -> None:
        """A message without a subject has none."""
        alice = self.user("alice")
        alice.send("alice", "hi")
        _, message = alice.hear()
        self.assertEqual(
            message, {"id": 1, "sender": "alice", "recipient": "alice", "time": TIME, "body": "hi"}
        )

    def test_limits(self) -> None:
        """Subject 256 bytes, body 64 KiB, ref 64 bytes, in UTF-8: longer is refused, nothing is cut."""
        bob, alice = self.user("bob"), self.user("alice")
        fits: list[dict[str, str]] = [
            {"body": "x" * 65536},
            {"body": "\u20ac" * 21845 + "x"},
            {"body": "", "subject": "x" * 256},
            {"body": "", "subject": "\U0001f4a9" * 64},
            {"body": "", "ref": "r" * 64},
            {"body": "", "ref": "\u00e9" * 32},
        ]
        for message in fits:
            alice.send("bob", **message)
            self.assertHears(alice, "accepted")
            (shown,) = bob.hear()
            self.assertEqual((shown["body"], shown.get("subject")), (message["body"], message.get("subject")))
        for message in (
            {"body": "x" * 65537},
            {"body": "\u20ac" * 21846},
            {"body": "", "subject": "x" * 257},
            {"body": "", "subject": "\U0001f4a9" * 65},
        ):
            alice.send("bob", **message, ref="c1")
            (refusal,) = self.assertHears(alice, "failed too-large")
            self.assertEqual(refusal["ref"], "c1")
        for ref in ("r" * 65, "\u00e9" * 33):
            alice.send("bob", "hi", ref=ref)
            (refusal,) = self.assertHears(alice, "failed too-large")
            self.assertNotIn("ref", refusal)
        self.assertHears(bob)

    def test_idsAndTimes(self) -> None:
        """C{id} grows with the order of acceptance; C{time} is when it was accepted, to the millisecond."""
        alice, bob = self.user("alice"), self.user("bob")
        alice.send("bob", "one")
        self.network.settle()
        self.network.pass_time(0.877)
        bob.send("alice", "two")
        self.network.settle()
        (_, second), (first, _) = alice.hear(), bob.hear()
        self.assertEqual((first["id"], first["time"]), (1, TIME))
        self.assertEqual((second["id"], second["time"]), (2, "2026-11-22T21:07:01.000Z"))

    # --- ref ---

    def test_repeatedRef(self) -> None:
        """The same sender and ref again: the same id and time, the state as it is now, no second copy."""
        self.away("bob")
        alice = self.user("alice")
        alice.send("bob", "hi", subject="s", ref="c1")
        (first,) = alice.hear()
        self.network.pass_time(5)

        def repeat(state: str) -> None:
            alice.send("bob", "hi", subject="s", ref="c1")
            self.assertEqual(alice.hear(), [{**first, "state": state}])

        repeat("waiting")
        bob = self.user("bob")
        repeat("waiting")
        bob.received(first["id"])
        bob.hear()
        repeat("delivered")
        bob.system("delete", ids=[first["id"]])
        self.assertHears(bob, "deleted")
        repeat("delivered")
        alice.hang_up()
        alice = self.user("alice")
        repeat("delivered")
        self.assertHears(bob)

    def test_repeatedRefInOneGo(self) -> None:
        """Repetitions under way together are one message, too."""
        bob, alice = self.user("bob"), self.user("alice")
        for _ in range(5):
            alice.send("bob", "hi", ref="c1")
            alice.send("bob", "ho")
        accepted = alice.hear()
        self.assertEqual([frame["id"] for frame in accepted[::2]], [1] * 5)
        self.assertEqual([frame["id"] for frame in accepted[1::2]], [2, 3, 4, 5, 6])
        self.assertEqual([frame["id"] for frame in bob.hear()], [1, 2, 3, 4, 5, 6])

    def test_repeatedRefOfRecalled(self) -> None:
        """A recalled message is not sent again by repeating it; a returned one stays returned."""
        self.away("bob")
        alice = self.user("alice")
        alice.send("bob", "hi", ref="c1")
        alice.send("nobody", "hi", ref="c2")
        alice.hear()
        alice.system("delete", ids=[1])
        alice.send("bob", "hi", ref="c1")
        alice.send("nobody", "hi", ref="c2")
        heard = alice.hear()
        self.assertEqual(keywords(heard), ["deleted", "accepted", "accepted"])
        self.assertEqual(
            [(frame["id"], frame["state"]) for frame in heard[1:]], [(1, "recalled"), (2, "returned")]
        )

    def test_reusedRef(self) -> None:
        """The same ref with another recipient, subject or body is refused, and nothing is sent."""
        bob, alice = self.user("bob"), self.user("alice")
        self.away("carol")
        alice.send("bob", "hi", subject="s", ref="c1")
        self.assertHears(alice, "accepted")
        for recipient, body, more in (
            ("carol", "hi", {"subject": "s"}),
            ("bob", "ho", {"subject": "s"}),
            ("bob", "hi", {"subject": ""}),
            ("bob", "hi", {}),
        ):
            alice.send(recipient, body, ref="c1", **more)
            (refusal,) = self.assertHears(alice, "failed ref-reused")
            self.assertEqual(refusal["ref"], "c1")
        self.assertHears(bob, "message")
        bob.send("alice", "hi", ref="c1")
        self.assertHears(bob, "accepted")

    # --- returns ---

    def test_unknownRecipient(self) -> None:
        """A message to nobody is accepted and comes back, durably, with the reason."""
        alice = self.user("alice")
        for number, (recipient, named) in enumerate(
            (("Nobody", "nobody"), ("", ""), ("x" * 300, "x" * 300), ("two words", "two words")), 1
        ):
            alice.send(recipient, "hi", subject="s", ref=f"{number}")
            accepted, returned = alice.hear()
            self.assertEqual((accepted["id"], accepted["state"]), (number, "returned"))
            self.assertEqual(
                returned,
                {
                    "id": number,
                    "sender": "alice",
                    "recipient": "alice",
                    "time": TIME,
                    "subject": "s",
                    "body": "hi",
                    "returned": {"code": "unknown-recipient", "recipient": named, "note": UNKNOWN},
                },
            )
        alice.received(2, 3, 4)
        alice.hear()
        alice.hang_up()
        heard = self.network.connect(self.codec).log_in("alice")
        self.assertEqual([frame["id"] for frame in heard[1:]], [1])
        self.assertEqual(heard[1]["returned"]["code"], "unknown-recipient")

    def test_deletedAccount(self) -> None:
        """What waits for an account that is deleted goes back to its senders, here or away, with its id."""
        bob, alice = self.user("bob"), self.user("alice")
        carol = self.user("carol")
        alice.send("bob", "confirmed")
        alice.send("bob", "shown", subject="s")
        carol.send("bob", "hi", receipt=True)
        for client in (alice, carol):
            client.hear()
        carol.hang_up()
        bob.received(1)
        self.network.pass_time(7)
        bob.system("delete-account", password=password("bob"))
        self.assertHears(bob, "message", "message", "message", "account-deleted", "username")
        returned = {
            "id": 2,
            "sender": "alice",
            "recipient": "alice",
            "time": TIME,
            "subject": "s",
            "body": "shown",
            "returned": DELETED,
        }
        self.assertEqual(alice.hear(), [returned])
        heard = self.network.connect(self.codec).log_in("carol")
        self.assertEqual([(frame["id"], frame["returned"]) for frame in heard[1:]], [(3, DELETED)])
        alice.system("list", box="sent")
        entries = alice.hear()[0]["messages"]
        self.assertEqual([entry["state"] for entry in entries], ["delivered", "returned"])
        self.assertEqual([entry["recipient"] for entry in entries], ["bob", "bob"])
        self.assertEqual(entries[1]["returned"], DELETED)
        alice.system("list", box="inbox")
        (entry,) = alice.hear()[0]["messages"]
        self.assertEqual((entry["state"], entry["returned"]), ("waiting", DELETED))
        alice.system("read", ids=[2])
        self.assertEqual(alice.hear()[0]["messages"], [{**returned, "state": "waiting"}])

    def test_mailToDeletedAccount(self) -> None:
        """Mail to a deleted account comes back as such while its name is reserved, then as to nobody."""
        self.user("bob").system("delete-account", password=password("bob"))
        alice = self.user("alice")
        for days, code in ((0, "account-deleted"), (89, "account-deleted"), (2, "unknown-recipient")):
            self.network.pass_time(days * DAY / 1000)
            alice.send("bob", "hi")
            accepted, returned = alice.hear()
            self.assertEqual((accepted["state"], returned["returned"]["code"]), ("returned", code))

    def test_answersToPrograms(self) -> None:
        """What a program answers to what a program wrote is refused, if it says so."""
        bob, alice = self.user("bob"), self.user("alice")
        alice.send("bob", "The disk is full.", automatic=True)
        (told,) = bob.hear()
        bob.send("alice", "I am away.", ref="c1", automatic=True, answers=told["id"])
        (refused,) = bob.hear()
        self.assertEqual((refused["code"], refused["ref"]), ("automatic-loop", "c1"))
        bob.send("alice", "I am on my way.", answers=told["id"])
        self.assertHears(bob, "accepted")
        self.assertEqual([frame.get("answers") for frame in alice.hear() if "body" in frame], [None])

    def test_automatic(self) -> None:
        """What a program wrote is marked wherever it is shown, also when it came back."""
        bob, alice = self.user("bob"), self.user("alice")
        for recipient in ("bob", "nobody"):
            alice.send(recipient, "I am away.", automatic=True, receipt=True)
        alice.send("bob", "I am here.")
        told, returned = [frame for frame in alice.hear() if "body" in frame or frame.get("id") == 1]
        self.assertNotIn("automatic", told)
        self.assertEqual((returned["automatic"], returned["returned"]["code"]), (True, "unknown-recipient"))
        shown = [frame.get("automatic", False) for frame in bob.hear()]
        self.assertEqual(shown, [True, False])
        again = self.network.connect(self.codec)
        _, *messages = again.log_in("bob")
        self.assertEqual([frame.get("automatic", False) for frame in messages], shown)
        again.system("read", ids=[1, 3])
        read = again.hear()[0]["messages"]
        self.assertEqual([frame.get("automatic", False) for frame in read], shown)
        bob.received(1)
        self.assertHears(alice, "delivered")

    def test_blocked(self) -> None:
        """Whom one does not want to hear from gets back what he sends, until one does."""
        alice, mallory = self.user("alice"), self.user("mallory")
        alice.system("block", username="Mallory")
        alice.system("blocks")
        blocked = {"keyword": "blocked", "usernames": ["mallory"]}
        self.assertEqual(alice.hear(), [blocked, blocked])
        mallory.send("alice", "psst", ref="m1")
        accepted, returned = mallory.hear()
        self.assertEqual((accepted["ref"], accepted["state"]), ("m1", "returned"))
        self.assertEqual((returned["body"], returned["returned"]["code"]), ("psst", "blocked"))
        self.assertHears(alice)
        alice.system("unblock", username="mallory")
        self.assertEqual(alice.hear(), [{"keyword": "blocked", "usernames": []}])
        mallory.send("alice", "hello")
        self.assertHears(mallory, "accepted")
        self.assertHears(alice, "message")
        alice.system("block", username="nobody")
        self.assertHears(alice, "failed unknown-recipient")

    def test_reservedName(self) -> None:
        """The name of a deleted account is not to be had for a while, in any spelling."""
        self.user("bob").system("delete-account", password=password("bob"))
        client = self.network.connect(self.codec)
        for name in ("bob", "BOB"):
            client.answer("username", name)
            self.assertHears(client, "failed name-reserved", "username")
        self.network.pass_time(91 * DAY / 1000)
        client = self.network.connect(self.codec)
        client.say_login("bob", "another password")
        self.assertHears(client, "new-password", "created", "username")

    # --- receipts ---

    def test_receipt(self) -> None:
        """Whoever asked is told of the delivery, in all its sessions; who did not is not."""
        bob, alice, phone = self.user("bob"), self.user("alice"), self.user("alice")
        alice.send("bob", "one", receipt=True)
        alice.send("bob", "two")
        phone.send("bob", "three", receipt=True)
        for client in (alice, phone, bob):
            client.hear()
        self.network.pass_time(2)
        bob.received(1, 2, 3)
        delivered = {"keyword": "delivered", "ids": [1, 3], "time": "2026-11-22T21:07:02.123Z"}
        self.assertEqual(alice.hear(), [delivered])
        self.assertEqual(phone.hear(), [delivered])
        bob.received(1, 2, 3)
        self.assertHears(alice)

    def test_receiptAfterCommit(self) -> None:
        """C{delivered} goes out after the commit."""
        bob, alice = self.user("bob"), self.user("alice")
        alice.send("bob", "one", receipt=True)
        self.assertHears(alice, "accepted")
        self.assertHears(bob, "message")
        self.network.disk.seconds = 1.0
        bob.received(1)
        self.assertHears(alice)
        self.network.pass_time(1)
        self.assertHears(alice, "delivered")

    def test_receiptWhileAway(self) -> None:
        """A sender who was away finds the delivery in the listing, and is not told later."""
        bob, alice = self.user("bob"), self.user("alice")
        alice.send("bob", "one", receipt=True)
        alice.hear()
        alice.hang_up()
        bob.received(1)
        bob.hear()
        alice = self.network.connect(self.codec)
        self.assertEqual(keywords(alice.log_in("alice")), ["welcome"])
        alice.system("list", box="sent")
        self.assertEqual(alice.hear()[0]["messages"][0]["state"], "delivered")

    def test_ignoredReceipts(self) -> None:
        """A receipt for an unknown id, another's, a recalled or a settled message is ignored."""
        bob, alice, carol = self.user("bob"), self.user("alice"), self.user("carol")
        alice.send("bob", "one", receipt=True)
        alice.send("bob", "two", receipt=True)
        alice.hear()
        bob.hear()
        carol.received(1, 2, 99, 0)
        alice.received(1)
        alice.system("delete", ids=[2])
        self.assertHears(alice, "deleted")
        bob.received(2)
        bob.received()
        self.assertHears(bob)
        self.assertHears(carol)
        bob.system("list", box="inbox")
        self.assertEqual([(e["id"], e["state"]) for e in bob.hear()[0]["messages"]], [(1, "waiting")])
        self.assertHears(alice)

    # --- delete ---

    def test_delete(self) -> None:
        """The own mailbox: removed. Sent by me and still waiting: recalled. Anything else: missing."""
        bob, alice = self.user("bob"), self.user("alice")
        alice.send("bob", "confirmed", receipt=True)
        alice.send("bob", "waiting", receipt=True)
        alice.send("bob", "recalled, though shown")
        alice.send("nobody", "returned")
        bob.send("alice", "other way")
        for client in (alice, bob):
            client.hear()
        bob.received(1)
        self.assertHears(bob)
        self.assertHears(alice, "delivered")
        alice.system("delete", ids=[1, 3, 3, 4, 5, 99])
        self.assertEqual(alice.hear(), [{"keyword": "deleted", "ids": [3, 4, 5], "missing": [1, 99]}])
        bob.system("delete", ids=[3, 2, 1])
        self.assertEqual(bob.hear(), [{"keyword": "deleted", "ids": [2, 1], "missing": [3]}])
        self.assertEqual([frame["ids"] for frame in alice.hear()], [[2]])  # confirmed before it went
        bob.system("delete", ids=[1, 2, 5])
        self.assertEqual(bob.hear(), [{"keyword": "deleted", "ids": [], "missing": [1, 2, 5]}])
        alice.system("list", box="sent")
        self.assertEqual(
            [(entry["id"], entry["state"]) for entry in alice.hear()[0]["messages"]],
            [(1, "delivered"), (2, "delivered"), (3, "recalled"), (4, "returned")],
        )
        bob.hang_up()
        self.assertEqual(keywords(self.network.connect(self.codec).log_in("bob")), ["welcome"])

    def test_deleteSentToMyself(self) -> None:
        """A message to oneself is in the own mailbox, and removed like any other."""
        alice = self.user("alice")
        alice.send("alice", "note", receipt=True)
        self.assertHears(alice, "accepted", "message")
        alice.system("delete", ids=[1])
        self.assertEqual(sorted(keywords(alice.hear())), ["deleted", "delivered"])
        alice.system("list", box="sent")
        self.assertEqual(alice.hear()[0]["messages"][0]["state"], "delivered")

    # --- list and read ---

    def test_list(self) -> None:
        """A listing ascends by id, without C{after}, and says whether there is more."""
        self.away("bob")
        alice = self.user("alice")
        for number in range(105):
            alice.send("bob", str(number))
        alice.hear()
        for question, first, last, more in (
            ({}, 1, 100, True),
            ({"after": 5}, 6, 105, False),
            ({"after": 4}, 5, 104, True),
            ({"limit": 1}, 1, 1, True),
            ({"limit": 1000}, 1, 105, False),
            ({"limit": 105}, 1, 105, False),
            ({"limit": 104}, 1, 104, True),
            ({"after": 100, "limit": 2}, 101, 102, True),
            ({"after": 2**63 - 1}, 0, -1, False),
        ):
            alice.system("list", box="sent", **question)
            (listing,) = alice.hear()
            self.assertEqual([entry["id"] for entry in listing["messages"]], list(range(first, last + 1)))
            self.assertEqual((listing["box"], listing["more"]), ("sent", more), question)
        alice.system("list", box="inbox")
        self.assertEqual(
            alice.hear(), [{"keyword": "listing", "box": "inbox", "messages": [], "more": False}]
        )

    def test_inbox(self) -> None:
        """The inbox tells what waits from what was confirmed, and not what was removed."""
        bob, alice = self.user("bob"), self.user("alice")
        for number in range(3):
            alice.send("bob", str(number), subject=f"subject {number}")
        alice.hear()
        bob.received(1)
        bob.system("delete", ids=[2])
        bob.hear()
        bob.system("list", box="inbox")
        (listing,) = bob.hear()
        entry = {"sender": "alice", "recipient": "bob", "time": TIME}
        self.assertEqual(
            listing["messages"],
            [
                {"id": 1, **entry, "subject": "subject 0", "state": "delivered"},
                {"id": 3, **entry, "subject": "subject 2", "state": "waiting"},
            ],
        )

    def test_read(self) -> None:
        """Whole messages, received or sent, in the order asked for; others' and unknown ones are missing."""
        bob, alice, carol = self.user("bob"), self.user("alice"), self.user("carol")
        alice.send("bob", "one", subject="s")
        alice.send("carol", "two")
        carol.send("bob", "three")
        for client in (alice, bob, carol):
            client.hear()
        alice.system("read", ids=[2, 3, 1, 2, 99])
        (answer,) = alice.hear()
        self.assertEqual([message["body"] for message in answer["messages"]], ["two", "one"])
        self.assertEqual(answer["missing"], [3, 99])
        self.assertEqual(answer["messages"][1]["state"], "waiting")
        bob.system("read", ids=[1])
        (answer,) = bob.hear()
        message = {
            "id": 1,
            "sender": "alice",
            "recipient": "bob",
            "time": TIME,
            "subject": "s",
            "body": "one",
        }
        self.assertEqual(answer["messages"], [{**message, "state": "waiting"}])

    def test_readLimit(self) -> None:
        """C{read} takes 100 ids, and not 101."""
        alice = self.user("alice")
        alice.system("read", ids=list(range(1, 101)))
        self.assertHears(alice, "messages")
        alice.system("read", ids=list(range(1, 102)))
        self.assertHears(alice, "failed too-large")

    # --- several sessions ---

    def test_severalSessions(self) -> None:
        """Each session of an account is sent every message; the first receipt settles it."""
        alice, bob, phone = self.user("alice"), self.user("bob"), self.user("bob")
        alice.send("bob", "hi", receipt=True)
        self.assertHears(alice, "accepted")
        self.assertEqual(bob.hear(), phone.hear())
        phone.received(1)
        self.assertHears(alice, "delivered")
        bob.received(1)
        self.assertHears(alice)
        self.assertHears(bob)
        third = self.network.connect(self.codec)
        self.assertEqual(keywords(third.log_in("bob")), ["welcome"])

    def test_accountGone(self) -> None:
        """When an account is deleted, its other sessions end, whatever they were doing; no others do."""
        bob, phone, busy, alice = (self.user(name) for name in ("bob", "bob", "bob", "alice"))
        entering = self.network.connect(self.codec)
        entering.answer("username", "bob")
        entering.hear()
        bob.system("delete-account", password=password("bob"))
        busy.system("ping")
        self.assertHears(bob, "account-deleted", "username")
        self.assertHears(phone, "fatal account-gone")
        self.assertHears(busy, "pong", "fatal account-gone")
        self.assertTrue(phone.ended and busy.ended)
        entering.answer("password", password("bob"))
        self.assertHears(entering, "failed wrong-password", "username")
        alice.system("ping")
        self.assertHears(alice, "pong")

    def test_logInAgain(self) -> None:
        """After the account is deleted the session can log in as another one."""
        bob, alice = self.user("bob"), self.user("alice")
        bob.system("delete-account", password="not the password")
        self.assertHears(bob, "failed wrong-password")
        bob.system("delete-account", password=password("bob"))
        self.assertHears(bob, "account-deleted", "username")
        self.away("carol")
        bob.log_in("carol")
        alice.send("carol", "hi")
        alice.send("bob", "hi")
        self.assertHears(alice, "accepted", "accepted", "message")
        self.assertHears(bob, "message")

    def test_changePassword(self) -> None:
        """The new password is in force, the old one no longer; the session goes on."""
        alice = self.user("alice")
        alice.system("change-password", password="not the password", new="another password")
        alice.system("change-password", password=password("alice"), new="short")
        alice.system("change-password", password=password("alice"), new="another password")
        alice.system("ping")
        self.assertHears(alice, "failed wrong-password", "failed bad-password", "password-changed", "pong")
        client = self.network.connect(self.codec)
        client.say_login("alice")
        self.assertHears(client, "password", "failed wrong-password", "username")
        client.log_in("alice", "another password")

    def token(self, client: Client) -> str:
        """A token of whoever is logged in there."""
        client.system("token")
        (issued,) = self.assertHears(client, "token-issued")
        self.assertEqual(issued["expires"], "2026-12-22T21:07:00.123Z")
        return str(issued["value"])

    def resume(self, name: str, token: str, *expected: str) -> Client:
        """Say name and token at once, and hear this."""
        client = self.network.connect(self.codec)
        client.answer("username", name)
        client.answer("token", token)
        self.assertHears(client, *expected)
        return client

    def test_token(self) -> None:
        """A token logs in without the password, at every connection, until it is revoked."""
        self.user("bob")
        alice = self.user("alice")
        token = self.token(alice)
        alice.send("alice", "hi")
        alice.hear()
        alice.hang_up()
        again = self.resume("Alice", token, "password", "welcome", "message")
        again.received(1)
        again.system("ping")
        self.assertHears(again, "pong")
        self.resume("alice", token, "password", "welcome")
        self.resume("bob", token, "password", "failed wrong-token", "username").log_in("bob")
        self.resume("nobody", token, "new-password", "failed wrong-token", "username").log_in("alice")
        again.system("logout")
        self.assertHears(again, "logged-out", "username")
        self.resume("alice", token, "password", "failed wrong-token", "username")
        again.log_in("bob")

    def test_tokenMakesNoAccount(self) -> None:
        """A token shown for a name that is free is no sign-up."""
        self.resume("nobody", "long enough", "new-password", "failed wrong-token", "username")
        client = self.network.connect(self.codec)
        client.say_login("nobody", "long enough")
        self.assertHears(client, "new-password", "created", "username")

    def test_tokenWhenClosed(self) -> None:
        """Where sign-up is not open, known and unknown names are answered alike here, too."""
        self.user("alice")
        self.network.accounts.registration = Registration.CLOSED
        refusals = []
        for name in ("alice", "nobody"):
            client = self.network.connect(self.codec)
            client.answer("username", name)
            client.answer("token", "x")
            refusals.append(self.assertHears(client, "password", "failed wrong-token", "username"))
        self.assertEqual(refusals[0], refusals[1])

    def test_logout(self) -> None:
        """It revokes the tokens of this login; with C{all} all of them, and ends the account's others."""
        bob = self.user("bob")
        one, two = self.user("alice"), self.user("alice")
        first, second = self.token(one), self.token(two)
        third = self.resume("alice", second, "password", "welcome")
        given = self.token(third)
        third.system("logout")
        third.system("ping")
        self.assertHears(third, "logged-out", "username", "failed bad-state", "username")
        for token in (second, given):
            self.resume("alice", token, "password", "failed wrong-token", "username")
        fourth = self.resume("alice", first, "password", "welcome")
        fourth.system("logout", all=True)
        two.send("bob", "said before")
        self.assertHears(two, "accepted", "fatal logged-out-elsewhere")
        self.assertHears(one, "fatal logged-out-elsewhere")
        self.assertTrue(one.ended and two.ended)
        self.assertHears(fourth, "logged-out", "username")
        self.assertHears(bob, "message")
        self.resume("alice", first, "password", "failed wrong-token", "username")
        fourth.log_in("alice")

    def test_tokenAndPassword(self) -> None:
        """A new password revokes all tokens; only the session that changed it is given a new one."""
        alice, other = self.user("alice"), self.user("alice")
        token = self.token(other)
        alice.system("change-password", password=password("alice"), new="another password")
        self.assertHears(alice, "password-changed")
        self.resume("alice", token, "password", "failed wrong-token", "username")
        other.system("token")
        other.system("ping")
        self.assertHears(other, "failed bad-state", "pong")
        self.resume("alice", self.token(alice), "password", "welcome")

    def test_tokenAfterRestart(self) -> None:
        """A server that is started anew takes the tokens of the one before."""
        token = self.token(self.user("alice"))
        self.network.close()
        self.network = Network(self.network.data, clock=self.network.clock)
        self.addCleanup(self.network.close)
        self.resume("alice", token, "password", "welcome")

    def test_neverTwice(self) -> None:
        """One session never gets the same id twice, returns and its own pace included."""
        bob, alice = self.user("bob"), self.user("alice")
        alice.reads = False
        for number in range(30):
            alice.send("bob", "x" * 3000)
            alice.send("alice", "x" * 3000)
            alice.send("nobody", "x" * 3000)
            bob.send("alice", "x" * 3000)
            if number % 10 == 9:
                self.network.settle()
                alice.reads = True
                alice.read(20_000)
                alice.reads = False
        bob.system("delete-account", password=password("bob"))
        self.network.settle()
        alice.reads = True
        ids = [message["id"] for message in messages(alice.hear())]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(len(ids), 120)

    def test_storageFull(self) -> None:
        """When there is no room a send is refused, with its ref, and can be repeated when there is."""
        bob, alice = self.user("bob"), self.user("alice")
        connection = self.network.disk.connect()
        pages = connection.execute("PRAGMA main.page_count").fetchone()[0]
        connection.execute(f"PRAGMA main.max_page_count = {pages + 1}")
        alice.send("bob", "x" * 60_000, ref="c1")
        (refusal,) = self.assertHears(alice, "failed storage-full")
        self.assertEqual(refusal["ref"], "c1")
        alice.system("ping")
        self.assertHears(alice, "pong")
        connection.execute("PRAGMA main.max_page_count = 100000")
        alice.send("bob", "x" * 60_000, ref="c1")
        (accepted,) = self.assertHears(alice, "accepted")
        self.assertEqual(accepted["id"], 1)
        self.assertHears(bob, "message")

    def test_optionalFields(self) -> None:
        """Numbers out of range and fields of the wrong kind are refused, and nothing is done."""
        if self.codec is not Codec.JSON:
            return  # what DER cannot even express is tried in the tests of the codec
        alice = self.user("alice")
        for data in (
            {"keyword": "list", "box": "inbox", "limit": 0},
            {"keyword": "list", "box": "inbox", "limit": 1001},
            {"keyword": "list", "box": "inbox", "after": -1},
            {"keyword": "list", "box": "inbox", "after": 2**63},
            {"keyword": "list", "box": "inbox", "after": 1.5},
            {"keyword": "list"},
            {"keyword": "list", "box": 1},
            {"keyword": "read", "ids": "1"},
            {"keyword": "read", "ids": [-1]},
            {"keyword": "delete"},
            {"keyword": "sing"},
            {},
        ):
            alice.write(json.dumps({"type": "system", "data": data}).encode() + b"\n")
            self.assertHears(alice, "failed bad-frame")
        alice.write(b'{"type":"message","data":{"recipient":"alice","ref":"c1"}}\n')
        (refusal,) = self.assertHears(alice, "failed bad-frame")
        self.assertEqual(refusal["ref"], "c1")
        alice.write(b'{"type":"message","data":{"recipient":"alice","body":"hi","mood":"good"},"x":[]}\n')
        self.assertHears(alice, "accepted", "message")
        alice.write(b'{"type":"message","data":{"recipient":"alice","body":"\\ud800"}}\n')
        self.assertHears(alice, "fatal malformed-frame")


class DERTests(JSONTests):
    """The same, in DER."""

    codec = Codec.DER


class DoorsTests(NetworkTestCase):
    """Whoever comes by whichever door, all meet in the same rooms."""

    def test_everyDoor(self) -> None:
        """A JSON and a DER client write to each other, and a text client sees it."""
        alice, bob = self.network.user("alice", "json"), self.network.user("bob", "der")
        alice.send("bob", "from JSON", ref="c1")
        bob.send("alice", "from DER", ref="c1")
        self.assertHears(alice, "accepted", "message")
        self.assertHears(bob, "message", "accepted")
        protocol = self.network.doors["text"].buildProtocol(None)
        wire = type(alice.wire)(protocol)
        protocol.makeConnection(wire)
        shown = b""
        for line in (b"bob\n", password("bob").encode() + b"\n", b"/to alice from text\n"):
            wire.arrive(line)
            self.network.settle()
            shown += wire.read()
        self.assertIn(b"from JSON", shown)
        self.assertEqual([message["body"] for message in alice.hear()], ["from text"])
        wire.lose()


class CutTests(NetworkTestCase):
    """A client that hangs up at any byte: nothing is lost, doubled, logged, or felt by others."""

    def setUp(self) -> None:
        """Bob is there all the time, and confirms what he gets."""
        super().setUp()
        self.network.user("carol").hang_up()
        self.bob = self.network.user("bob")
        self.shown: list[str] = []

    def script(self, round: str) -> list[bytes]:
        """What Carol says."""
        client = self.network.connect()
        frames = [
            client.encoded("login", field="username", value="carol"),
            client.encoded("login", field="password", value=password("carol")),
            client.encoded("message", recipient="bob", body=f"{round}a", ref=f"{round}a"),
            client.encoded("system", keyword="list", box="sent", limit=1),
            client.encoded("message", recipient="bob", body=f"{round}b", ref=f"{round}b"),
            client.encoded("message", recipient="carol", body=f"{round}c", ref=f"{round}c"),
            client.encoded("system", keyword="quit"),
        ]
        client.hang_up()
        return frames

    def listen(self) -> None:
        """Bob notes what he is shown, and confirms it."""
        heard = self.bob.hear()
        self.assertEqual(keywords(heard), ["message"] * len(heard))
        self.shown += [message["body"] for message in heard]
        if heard:
            self.bob.received(*[message["id"] for message in heard])

    def accepted(self) -> list[str]:
        """The refs that the ledger knows, in their order."""
        rows = self.network.disk.connect().execute("SELECT ref FROM ledger ORDER BY id").fetchall()
        return [ref for (ref,) in rows]

    def finish(self, rounds: list[str]) -> None:
        """Carol comes back and repeats all her sends; then everything is there just once."""
        carol = self.network.connect()
        carol.log_in("carol")
        known = self.accepted()
        for round in rounds:
            for letter, recipient in (("a", "bob"), ("b", "bob"), ("c", "carol")):
                carol.send(recipient, f"{round}{letter}", ref=f"{round}{letter}")
        accepted = [frame for frame in carol.hear() if frame.get("keyword") == "accepted"]
        self.assertEqual(len(accepted), 3 * len(rounds))
        for frame in accepted:
            if frame["ref"] in known:
                self.assertEqual(frame["id"], known.index(frame["ref"]) + 1)
        self.listen()
        self.assertEqual(
            sorted(self.shown), sorted(f"{round}{letter}" for round in rounds for letter in "ab")
        )
        self.assertEqual(len(set(self.accepted())), len(self.accepted()))
        carol.hang_up()
        carol = self.network.connect()
        waiting = [message["body"] for message in carol.log_in("carol")[1:]]
        self.assertEqual(sorted(waiting), sorted(f"{round}c" for round in rounds))
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(self.network.doors["json"].connections), 2)

    def test_afterAnswers(self) -> None:
        """Cut after the server has done all it could: every whole send is accepted."""
        rounds = []
        for offset in range(len(b"".join(self.script("000"))) + 1):
            round = f"{offset:03d}"
            rounds.append(round)
            frames = self.script(round)
            carol = self.network.connect()
            carol.write(b"".join(frames)[:offset])
            self.network.settle()
            carol.hang_up()
            self.listen()
            ends = [sum(map(len, frames[: count + 1])) for count in range(len(frames))]
            whole = [f"{round}{letter}" for letter, frame in zip("abc", (2, 4, 5)) if ends[frame] <= offset]
            self.assertEqual([ref for ref in self.accepted() if ref.startswith(round)], whole)
        self.finish(rounds)

    def test_underWay(self) -> None:
        """Cut while the store is at work: a send is either accepted whole or not at all."""
        rounds = []
        length = len(b"".join(self.script("000"))) + 1
        for offset in range(0, length, 7):
            for step in range(0, 12, 3):
                round = f"{offset}.{step}"
                rounds.append(round)
                carol = self.network.connect()
                self.network.disk.seconds = 0.002
                carol.write(b"".join(self.script(round))[:offset])
                self.network.clock.pump([0] + [0.001] * step)
                carol.hang_up()
                for _ in range(20):
                    self.network.pass_time(0.001)
                self.network.disk.seconds = 0
                self.network.settle()
                self.listen()
        self.finish(rounds)

    def test_whileReading(self) -> None:
        """A recipient that hangs up at any byte of what it is sent gets the message next time."""
        dave = self.network.user("dave")
        for offset in range(140):
            self.bob.send("dave", f"{offset}", ref=f"{offset}")
            self.network.clock.advance(0)
            size = len(dave.wire.unread)
            heard = dave.wire.read(offset)
            dave.hang_up()
            dave = self.network.connect()
            dave.hear()
            again = dave.log_in("dave")[1:]
            self.assertEqual([message["body"] for message in again], [f"{offset}"])
            self.assertEqual([message.get("again") for message in again], [True])
            dave.received(again[0]["id"])
            self.assertEqual(len(heard), min(offset, size))
        self.assertLess(size, 140)
        self.assertHears(self.bob, *["accepted"] * 140)
