"""HTTP for programs: receiving, confirming, listing, searching, and tokens."""

from __future__ import annotations

import json
from typing import Callable

from chat.course import RECEIPTS_AT_ONCE
from chat.messages import QUERY_BYTES
from chat.store import store
from chat.store.searching import Portion
from chat.web.api.mailbox import ANSWER_BYTES
from tests.api import ApiTestCase, Open
from tests.talker import keywords, password


class ReceivingTests(ApiTestCase):
    """C{GET /messages} and C{POST /received}."""

    def test_until_confirmed(self) -> None:
        """What was received comes again until it is confirmed, and says that it may have come before."""
        self.alice.send("bob")
        first = self.bob.get("/messages")["messages"]
        again = self.bob.get("/messages")["messages"]
        self.assertEqual((again[0].pop("again"), again), (True, first))
        self.assertEqual(self.bob.say("/received", ids=[1]).status, 204)
        self.assertEqual(self.bob.get("/messages"), {"messages": [], "more": False})

    def test_after(self) -> None:
        """C{after} only says where to go on: it confirms nothing."""
        for _ in range(3):
            self.alice.send("bob")
        self.assertEqual(self.bob.waiting(after=2), [3])
        self.assertEqual(self.bob.waiting(), [1, 2, 3])

    def test_after_what_came_back(self) -> None:
        """What comes back late is behind what came before it, though its id is lower."""
        carol = self.person("carol")
        self.alice.send("carol")
        self.bob.send("alice")
        self.assertEqual(self.alice.waiting(), [2])
        carol.system("delete-account", password=password("carol"))
        carol.hear()
        self.assertEqual(self.alice.waiting(after=2), [1])
        self.assertEqual(self.alice.waiting(after=1), [])

    def test_after_one_that_is_gone(self) -> None:
        """One may go on behind a message that was removed meanwhile."""
        for _ in range(3):
            self.alice.send("bob")
        self.bob.ask("DELETE", "/messages/2")
        self.assertEqual(self.bob.waiting(after=2), [3])

    def test_after_another(self) -> None:
        """Behind a message that never was in this mailbox there is all of it: nothing is passed over."""
        self.alice.send("bob")
        self.bob.send("alice")
        self.assertEqual(self.bob.waiting(after=2), [1])
        self.assertEqual(self.bob.waiting(after=2**63 - 1), [1])

    def test_limit(self) -> None:
        """There are no more messages than asked for, and it is said whether more wait."""
        for _ in range(3):
            self.alice.send("bob")
        for limit, ids, more in ((1, [1], True), (2, [1, 2], True), (3, [1, 2, 3], False)):
            answer = self.bob.get(f"/messages?limit={limit}")
            self.assertEqual(([each["id"] for each in answer["messages"]], answer["more"]), (ids, more))

    def test_size(self) -> None:
        """An answer does not grow without bounds: what is left out comes next."""
        body = b"x" * 60_000
        number = ANSWER_BYTES // len(body) + 3
        for _ in range(number):
            self.assertEqual(self.alice.post("/to/bob", body).status, 202)
        answer = self.bob.get("/messages?limit=1000")
        ids = [each["id"] for each in answer["messages"]]
        self.assertEqual((len(ids), answer["more"]), (ANSWER_BYTES // len(body) + 1, True))
        self.assertEqual(ids + self.bob.waiting(after=ids[-1]), list(range(1, number + 1)))

    def test_many(self) -> None:
        """Of a mailbox with more than a page of the store, all are there in order."""
        alice = self.person("alice")
        for _ in range(6):
            for _ in range(100):
                alice.send("bob", "hello")
            alice.hear()
        self.assertEqual(self.bob.waiting(limit=1000), list(range(1, 601)))

    def test_wait(self) -> None:
        """Who waits is answered when something comes."""
        asked = self.bob.open("GET", "/messages?wait=1m")
        self.assertFalse(asked.answered)
        self.network.pass_time(59)
        self.assertFalse(asked.answered)
        self.alice.send("bob")
        self.assertEqual([each["id"] for each in asked.json["messages"]], [1])

    def test_wait_in_vain(self) -> None:
        """When nothing comes in time, that is the answer."""
        asked = self.bob.open("GET", "/messages?wait=1m")
        self.network.pass_time(60)
        self.assertEqual((asked.response.status, asked.json["messages"]), (200, []))

    def test_wait_behind(self) -> None:
        """Who waits for what comes behind a message is not answered with what was there before."""
        self.alice.send("bob")
        asked = self.bob.open("GET", "/messages?after=1&wait=1m")
        self.assertFalse(asked.answered)
        self.alice.send("bob")
        self.assertEqual([each["id"] for each in asked.json["messages"]], [2])

    def test_wait_not_for_notices(self) -> None:
        """That a message was delivered is no message: who waits for one goes on waiting."""
        self.alice.post("/to/bob?receipt=true", b"hello")
        asked = self.alice.open("GET", "/messages?wait=1m")
        self.assertFalse(asked.answered)
        self.bob.say("/received", ids=[1])
        self.assertFalse(asked.answered)

    def test_hang_up(self) -> None:
        """Who hangs up while waiting leaves nothing behind; what comes then is not counted as shown."""
        asked = self.bob.open("GET", "/messages?wait=1m")
        self.assertFalse(asked.answered)
        asked.hang_up()
        self.assertNothingUnderWay()
        self.alice.send("bob")
        self.assertNotIn("again", self.bob.get("/messages")["messages"][0])

    def test_while_logging_in(self) -> None:
        """Who hangs up before being let in leaves nothing behind either."""
        self.network.hashing.slow = True
        asked = self.bob.open("GET", "/messages?wait=1m")
        self.network.settle()
        asked.hang_up()
        self.network.hashing.finish()
        self.network.settle()
        self.assertNothingUnderWay()

    def test_receipt_told(self) -> None:
        """The sender who asked for it is told of the delivery."""
        alice = self.person("alice")
        self.alice.post("/to/bob?receipt=true", b"hello")
        self.bob.say("/received", ids=[1])
        self.assertEqual(keywords(alice.hear()), ["delivered"])

    def test_many_receipts(self) -> None:
        """As many ids as a session takes at once can be confirmed at once; others' ids are passed over."""
        self.alice.send("bob")
        ids = list(range(1, RECEIPTS_AT_ONCE + 1))
        self.assertEqual(self.bob.say("/received", ids=ids).status, 204)
        self.assertEqual(self.bob.waiting(), [])
        self.assertProblem(self.bob.say("/received", ids=[*ids, 0]), 400, "bad-body")
        self.assertEqual(self.bob.say("/received", ids=[]).status, 204)

    def test_bad_receipts(self) -> None:
        """What is no id is refused; a whole number is one however it is written."""
        self.alice.send("bob")
        for ids in ([-1], [1.5], ["1"], [2**63], [float(2**63)], [None], 1):
            self.assertProblem(self.bob.say("/received", ids=ids), 400, "bad-body")
        self.assertEqual(self.bob.post("/received", b'{"ids":[1.0]}').status, 204)
        self.assertEqual(self.bob.waiting(), [])
        self.assertProblem(
            self.bob.post("/received", b"1", Content_Type="text/plain"), 415, "unsupported-media-type"
        )

    def test_no_room_for_receipts(self) -> None:
        """A receipt that cannot be written down is not said to be: who confirms is to do so again."""
        self.alice.send("bob")
        confirm = self.network.mailroom.confirm
        self.network.mailroom.confirm = lambda *arguments: None  # type: ignore[method-assign]
        self.assertProblem(self.bob.say("/received", ids=[1]), 503, "storage-full")
        self.network.mailroom.confirm = confirm  # type: ignore[method-assign]
        self.assertEqual(self.bob.say("/received", ids=[1]).status, 204)


class MailboxTests(ApiTestCase):
    """Single messages, listings and searches."""

    def setUp(self) -> None:
        """Three messages for bob, one of them with a subject."""
        super().setUp()
        self.alice.post("/to/bob", b"the disk is full", Subject="Alarm")
        self.alice.send("bob", "it is still full")
        self.alice.send("bob", "never mind")

    def test_read(self) -> None:
        """A message can be read by both who have it, and tells its state."""
        for who in (self.alice, self.bob):
            message = who.get("/messages/1")
            self.assertEqual((message["subject"], message["body"]), ("Alarm", "the disk is full"))
            self.assertEqual(message["state"], "waiting")
        self.bob.say("/received", ids=[1])
        self.assertEqual(self.bob.get("/messages/1")["state"], "delivered")

    def test_read_what_is_not_there(self) -> None:
        """What is not there, or not theirs, is not found; what is no id is refused."""
        carol = self.program("carol")
        self.assertProblem(carol.ask("GET", "/messages/1"), 404, "not-found")
        self.assertProblem(self.bob.ask("GET", "/messages/9"), 404, "not-found")
        for id in ("", "x", "-1", "1.0", str(2**63), "9" * 30, "%C2%B2"):
            self.assertProblem(self.bob.ask("GET", f"/messages/{id}"), 400, "bad-parameter")

    def test_remove(self) -> None:
        """A message can be removed once, and taken back while it waits."""
        self.assertEqual(self.bob.ask("DELETE", "/messages/1").status, 204)
        self.assertProblem(self.bob.ask("DELETE", "/messages/1"), 404, "not-found")
        self.assertEqual(self.alice.ask("DELETE", "/messages/2").status, 204)
        self.assertEqual(self.bob.waiting(), [3])
        self.assertEqual(
            [entry["state"] for entry in self.alice.get("/sent")["messages"]],
            ["delivered", "recalled", "waiting"],
        )

    def test_lists(self) -> None:
        """A box is listed from the front, or with C{before} from the end."""
        for path, who in (("/inbox", self.bob), ("/sent", self.alice)):
            for query, ids, more in (
                ("", [1, 2, 3], False),
                ("?limit=2", [1, 2], True),
                ("?after=1", [2, 3], False),
                ("?before=0", [3, 2, 1], False),
                ("?before=0&limit=2", [3, 2], True),
                ("?before=3", [2, 1], False),
                ("?before=3&after=1", [2], False),
                ("?before=0&after=2&limit=2", [3], False),
            ):
                listing = who.get(path + query)
                found = [entry["id"] for entry in listing["messages"]]
                self.assertEqual((found, listing["more"]), (ids, more), path + query)
        self.assertEqual(set(listing), {"messages", "more"})
        self.assertNotIn("body", listing["messages"][0])

    def test_search(self) -> None:
        """A search finds by what messages say, newest first, and shows where."""
        found = self.bob.get("/search?q=full")
        self.assertEqual([entry["id"] for entry in found["messages"]], [2, 1])
        self.assertEqual(found["more"], False)
        self.assertIn("full", found["messages"][0]["excerpt"])
        self.assertEqual([e["id"] for e in self.bob.get("/search?q=full&limit=1")["messages"]], [2])
        self.assertEqual([e["id"] for e in self.bob.get("/search?q=full&before=2")["messages"]], [1])
        self.assertEqual(self.bob.get("/search?q=full&box=sent")["messages"], [])

    def test_bad_search(self) -> None:
        """A query that is missing or cannot be read is refused with what to write instead."""
        missing = self.assertProblem(self.bob.ask("GET", "/search"), 400, "bad-parameter")
        self.assertIn("The parameter q is missing", missing)
        self.assertProblem(self.bob.ask("GET", "/search?q=%20"), 400, "bad-query")
        self.assertProblem(self.bob.ask("GET", "/search?q=x&box=outbox"), 400, "bad-parameter")
        self.assertProblem(self.bob.ask("GET", f"/search?q={'x' * (QUERY_BYTES + 1)}"), 413, "too-large")

    def search(self, third: Callable[[Open], object]) -> tuple[Open, int]:
        """A search that takes ten looks, in the third of which something happens; how many it took."""
        looks = []

        def look(*arguments: object) -> Portion:
            looks.append(arguments)
            if len(looks) == 3:
                third(asked)
            return Portion([], 1 if len(looks) < 10 else None)

        self.patch(store, "search", look)
        asked = self.bob.open("GET", "/search?q=full")
        self.network.settle()
        return asked, len(looks)

    def test_search_for_nobody(self) -> None:
        """Who hangs up does not search on."""
        _, looks = self.search(Open.hang_up)
        self.assertEqual(looks, 3)
        self.assertNothingUnderWay()

    def test_search_at_the_end(self) -> None:
        """Where the server stops, what is searched for is found to the end."""
        asked, looks = self.search(lambda asked: self.door.shut_down())
        self.assertEqual((looks, asked.json), (10, {"messages": [], "more": False}))

    def test_nothing_is_shown(self) -> None:
        """Who lists or sends is shown nothing of the mailbox: what waits there does not count as shown."""
        for method, path in (
            ("GET", "/inbox"),
            ("GET", "/sent"),
            ("GET", "/messages/1"),
            ("POST", "/to/alice"),
        ):
            self.bob.ask(method, path, b"hello" if method == "POST" else b"")
        self.assertNotIn("again", self.bob.get("/messages")["messages"][0])


class TokenTests(ApiTestCase):
    """C{POST /token} and C{DELETE /token}."""

    def issue(self) -> str:
        """A token for alice."""
        response = self.alice.ask("POST", "/token")
        self.assertEqual(response.status, 201)
        token = json.loads(response.body)["token"]
        assert isinstance(token, str)
        return token

    def test_in_place_of_the_password(self) -> None:
        """A token lets in whom the password lets in, until it is revoked."""
        token = self.issue()
        other = self.issue()
        self.assertTrue(token.startswith("alice."))
        self.alice.authorization = f"bearer  {token}"
        self.alice.send("bob")
        self.assertEqual(self.alice.ask("DELETE", "/token").status, 204)
        self.assertProblem(self.alice.post("/to/bob", b"x"), 401, "wrong-token")
        self.alice.authorization = f"Bearer {other}"
        self.alice.send("bob")

    def test_revoke_all(self) -> None:
        """All tokens can be revoked at once; to revoke none in particular is refused."""
        token = self.issue()
        self.assertProblem(self.alice.ask("DELETE", "/token"), 409, "no-token")
        self.assertProblem(self.alice.ask("DELETE", "/token?all=false"), 409, "no-token")
        self.assertEqual(self.alice.ask("DELETE", "/token?all=true").status, 204)
        self.alice.authorization = f"Bearer {token}"
        self.assertProblem(self.alice.post("/to/bob", b"x"), 401, "wrong-token")

    def test_of_another_account(self) -> None:
        """A token is good for its own account only, also where there is none of that name."""
        secret = self.issue().rpartition(".")[2]
        for name in ("bob", "nobody"):
            self.alice.authorization = f"Bearer {name}.{secret}"
            self.assertProblem(self.alice.post("/to/bob", b"x"), 401, "wrong-token")

    def test_name_with_anything(self) -> None:
        """A token carries any name."""
        program = self.program("gärtner.b%")
        token = json.loads(program.ask("POST", "/token").body)["token"]
        program.authorization = f"Bearer {token}"
        program.send("bob")
        self.assertEqual(self.bob.get("/messages")["messages"][0]["sender"], "gärtner.b%")

    def test_secret(self) -> None:
        """What stands in the token is the account's in the protocol, too."""
        token = self.issue()
        client = self.network.connect()
        client.answer("username", "alice")
        client.answer("token", token.rpartition(".")[2])
        self.assertEqual(keywords(client.hear()), ["password", "welcome"])
