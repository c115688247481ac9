"""What the text door keeps of a conversation: little, whatever is typed and shown."""

from __future__ import annotations

import tracemalloc
from functools import partial
from typing import Callable

from chat.messages import (
    BODY_BYTES,
    RECIPIENT_BYTES,
    SUBJECT_BYTES,
    USER_FRAME_BYTES,
    Accepted,
    Delivered,
    Message,
    Password,
    Received,
    Welcome,
)
from tests.text_client import AT, TIME, Client, DoorCase, letter, sent


class KeptTests(DoorCase):
    """What was typed, or was shown and not confirmed, takes little room: a session may last for weeks."""

    def grows(self, *steps: Callable[[], object]) -> int:
        """How many bytes more there are after these steps."""
        tracemalloc.start()
        try:
            for step in steps:
                step()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    def test_long_lines(self) -> None:
        """Of a name, a subject or a password no more is kept than shows that it is too long."""
        long = "x" * (USER_FRAME_BYTES - 100) + "\U0001f600"
        for lines in (
            (f"/to {long}",),
            (f"/to {long} hi",),
            (f"/write {long}",),
            ("/write bob", long),
            ("/write bob", "subject", long),
            ("/passwd", long),
            ("/passwd", "secret123", long),
            ("/recovery", long),
        ):
            client = self.logged_in()
            self.assertLess(self.grows(*[partial(client.types, line) for line in lines]), 60_000)

    def test_what_is_too_long_is_refused(self) -> None:
        """What is kept of it is too long, too: for the session, which says so."""
        client = self.logged_in()
        self.assertEqual(
            client.types("/to " + "n" * 9000 + " x")[0], [sent("n" * (RECIPIENT_BYTES + 1), "x")]
        )
        self.assertEqual(client.types("y")[0], [sent("n" * (RECIPIENT_BYTES + 1), "y")])
        for line in ("/write bob", "s" * 9000, "z"):
            client.types(line)
        self.assertEqual(client.types(".")[0], [sent("bob", "z", "s" * (SUBJECT_BYTES + 1))])

    def test_short_lines(self) -> None:
        """A body of very many lines takes no more room than its bytes."""
        client = self.logged_in()
        client.types("/write bob")
        client.types("subject")
        lines = b"ab\n" * (BODY_BYTES // 9)

        def write() -> None:
            client.arrives(lines)
            while client.door.more:
                client.door.take(USER_FRAME_BYTES)

        self.assertLess(self.grows(write), 2 * BODY_BYTES)
        self.assertEqual(client.arrives(b".\n"), [sent("bob", lines.decode()[:-1], "subject")])

    def test_names_of_nobody(self) -> None:
        """To whom a message was sent is remembered for its receipt: not if it came back at once."""
        client = self.logged_in()

        def send() -> None:
            for number in range(1, 31):
                name = f"{number}{'n' * 4000}\U0001f600"
                client.types(f"/to {name} hi", Accepted(id=number, time=TIME, state="returned"))

        self.assertLess(self.grows(send), 100_000)
        client.types("/to bob hi", Accepted(id=31, time=TIME, state="waiting"))
        for number, words in ((30, "Message 30: delivered"), (31, "Message 31 to bob: delivered")):
            self.assertEqual(client.says(Delivered(ids=[number], time=TIME)).decode(), f"{words}, {AT}.\n")

    def test_shown(self) -> None:
        """What was shown and is not confirmed takes some bytes for each message."""
        for end in (b"\n", b"\r\n"):
            client = self.logged_in(end)
            letters = [letter(number) for number in range(1, 2001)]

            def show(client: Client = client, letters: list[Message] = letters) -> None:
                for each in letters:
                    client.says(each)

            self.assertLess(self.grows(show), 150_000)

    def test_shown_to_something_else(self) -> None:
        """What is confirmed by lines takes nothing, also of what never answers a mark (nc -C)."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        client.types("secret123", Welcome(username="alice", waiting=0))

        def show() -> None:
            for number in range(1, 1001):
                client.says(letter(number))
                self.assertEqual(client.types("")[0], [Received(ids=[number])])

        self.assertLess(self.grows(show), 50_000)
