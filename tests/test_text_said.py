"""Tests for the text door: what is shown."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.messages import (
    SYSTEM,
    Accepted,
    AccountDeleted,
    Block,
    Blocked,
    Blocks,
    Bye,
    ChangePassword,
    Created,
    Delete,
    DeleteAccount,
    Deleted,
    Delivered,
    Failed,
    Fatal,
    Found,
    Frame,
    List,
    LoggedOut,
    Logout,
    Messages,
    NewPassword,
    Password,
    PasswordChanged,
    Ping,
    Pong,
    Quit,
    Read,
    Received,
    Recovery,
    RecoveryCodes,
    Returned,
    Search,
    Token,
    TokenIssued,
    Unblock,
    Username,
    Version,
    Welcome,
)
from chat.wire.text_words import visible
from tests.strategies import ALWAYS
from tests.text_client import AT, TIME, UNKNOWN, Client, DoorCase, entry, inbox, letter, sent_box


class SaidTests(DoorCase):
    """What the server says becomes words; each line can be understood alone."""

    def says(self, line: str, frame: Frame, *expected: str) -> None:
        """Check how an answer to a line is put."""
        _, seen = self.logged_in().types(line, frame)
        self.assertEqual(seen.decode().splitlines(), list(expected), line)

    def test_answers(self) -> None:
        """Each answer, as it is put after the command it answers."""
        full = entry(17, subject="Tea", state="delivered")
        out = entry(17, sender="alice", recipient="bob", state="delivered", subject="Tea")
        back = entry(18, sender="alice", recipient="alice", returned=UNKNOWN, state="returned")
        for line, frame, expected in (
            ("/ping", Pong(), "The server is there."),
            ("/quit", Bye(), "Goodbye."),
            ("/to bob x", Accepted(id=17, time=TIME, state="waiting"), "Message 17 to bob: waiting."),
            (
                "/to zed x",
                Accepted(id=17, time=TIME, state="returned"),
                "Message 17 to zed: returned to its sender.",
            ),
            (
                "/to b\x07b x",
                Accepted(id=17, time=TIME, state="odd\n"),
                r"Message 17 to b\x07b: odd\n.",
            ),
            (
                "/to bob x",
                Failed(code="slow-down", reason="Too fast.", seconds=1),
                "Not sent to bob: Too fast. (slow-down) Try again in 1 second.",
            ),
            ("/read 1", Failed(code="x", reason="No."), "Failed: No. (x)"),
            ("/inbox", inbox(), "Your inbox is empty."),
            ("/inbox 9", inbox(), "Nothing after message 9 in your inbox."),
            ("/sent", sent_box(), "You have sent nothing."),
            ("/sent 9", sent_box(), "Nothing after message 9 among what you sent."),
            ("/inbox", inbox(full), f"Inbox 17 from bob, {AT}, delivered, subject: Tea"),
            (
                "/inbox",
                inbox(entry(18, sender="alice", returned=UNKNOWN)),
                f'Inbox 18, came back from "zed" (unknown-recipient), {AT}, waiting',
            ),
            ("/sent", sent_box(out), f"Sent 17 to bob, {AT}, delivered, subject: Tea"),
            ("/sent", sent_box(back), f"Sent 18 to zed, {AT}, returned to its sender"),
            ("/inbox <9", inbox(), "Nothing before message 9 in your inbox."),
            ("/sent last", sent_box(), "You have sent nothing."),
            ("/search x", Found(messages=[], more=False), "Nothing found."),
            ("/status 17", sent_box(out), "Message 17 to bob: delivered."),
            (
                "/status 18",
                sent_box(back),
                "Message 18 to zed: returned to its sender: There is no such account. (unknown-recipient)",
            ),
            ("/status 16", sent_box(out), "You have sent no message 16."),
            ("/status 19", sent_box(), "You have sent no message 19."),
            ("/delete 17", Deleted(ids=[17], missing=[]), "Deleted: message 17."),
            ("/delete 17 18", Deleted(ids=[17, 18], missing=[]), "Deleted: messages 17, 18."),
            (
                "/delete 17",
                Deleted(ids=[], missing=[17]),
                "Not deleted: message 17. Neither in your mailbox, nor sent by you and still waiting.",
            ),
            ("/read 18", Messages(messages=[], missing=[18]), "Not in your mailbox: message 18."),
        ):
            self.says(line, frame, expected)

    def test_more_than_a_line(self) -> None:
        """Answers of several lines."""
        self.says(
            "/inbox",
            inbox(entry(17), entry(19, subject=""), more=True),
            f"Inbox 17 from bob, {AT}, waiting",
            f"Inbox 19 from bob, {AT}, waiting, subject: ",
            "There is more: /inbox 19",
        )
        self.says(
            "/sent 9",
            sent_box(entry(17, recipient="zed", state="dead"), more=True),
            f"Sent 17 to zed, {AT}, returned, but its sender is gone",
            "There is more: /sent 17",
        )
        self.says(
            "/sent last",
            sent_box(entry(17, recipient="zed", state="dead"), more=True),
            f"Sent 17 to zed, {AT}, returned, but its sender is gone",
            "There is more: /sent <17",
        )
        self.says(
            "/search <20 di\x07sk",
            Found(
                messages=[
                    entry(19, excerpt="The disk\x1b"),
                    entry(18, sender="alice", recipient="zed", state="delivered", excerpt="disk"),
                    entry(17, sender="alice", returned=UNKNOWN),
                ],
                more=True,
                incomplete=True,
            ),
            f"Inbox 19 from bob, {AT}, waiting",
            r"| The disk\x1b",
            f"Sent 18 to zed, {AT}, delivered",
            "| disk",
            f'Inbox 17, came back from "zed" (unknown-recipient), {AT}, waiting',
            r"There is more: /search <17 di\x07sk",
            "Some messages were not looked through: the index is still being made. Try again later.",
        )
        self.says(
            "/delete 1 2 3",
            Deleted(ids=[1], missing=[2, 3]),
            "Deleted: message 1.",
            "Not deleted: messages 2, 3. Neither in your mailbox, nor sent by you and still waiting.",
        )
        self.says(
            "/read 17 18 19 20",
            Messages(
                messages=[
                    letter(17, "hi", state="delivered"),
                    letter(18, "own", sender="alice", recipient="bob", state="waiting"),
                ],
                missing=[19, 20],
            ),
            f"Message 17 from bob, {AT}, delivered",
            "| hi",
            f"Message 18 from alice to bob, {AT}, waiting",
            "| own",
            "Not in your mailbox: messages 19, 20.",
        )

    def test_answers_in_order(self) -> None:
        """Many requests may be under way; each answer finds its own."""
        client = self.logged_in()
        client.arrives(b"/to bob 1\n/to carol 2\n/status 9\n/to dave 3\n")
        self.assertEqual(
            client.says(
                Accepted(id=1, time=TIME, state="waiting"),
                letter(7, ""),
                Failed(code="too-large", reason="No."),
                sent_box(),
                Accepted(id=2, time=TIME, state="waiting"),
            ).decode(),
            "Message 1 to bob: waiting.\n"
            f"Message 7 from bob, {AT}\n"
            "Not sent to carol: No. (too-large)\n"
            "You have sent no message 9.\n"
            "Message 2 to dave: waiting.\n",
        )

    def test_login_words(self) -> None:
        """The welcome counts what waits."""
        for waiting, words in {0: "No messages are", 1: "1 message is", 20: "20 messages are"}.items():
            self.assertIn(
                f"Welcome, alice. {words} waiting.".encode(),
                Client().says(Welcome(username="alice", waiting=waiting)),
            )

    def test_delivered(self) -> None:
        """Each message is named with its recipient, as far back as is remembered."""
        client = self.logged_in()
        client.types("/to bob hi", Accepted(id=17, time=TIME, state="waiting"))
        client.types("/to carol hi", Accepted(id=18, time=TIME, state="waiting"))
        self.assertEqual(
            client.says(Delivered(ids=[17, 18, 5], time=TIME)).decode(),
            f"Message 17 to bob: delivered, {AT}.\n"
            f"Message 18 to carol: delivered, {AT}.\n"
            f"Message 5: delivered, {AT}.\n",
        )
        for number in range(100, 1101):
            client.types("hi", Accepted(id=number, time=TIME, state="waiting"))
        self.assertEqual(
            client.says(Delivered(ids=[100, 101], time=TIME)).decode(),
            f"Message 100: delivered, {AT}.\nMessage 101 to carol: delivered, {AT}.\n",
        )

    def test_messages(self) -> None:
        """A line that says whose, when and what about; then the body, each line marked."""
        for message, expected in (
            (letter(1, "hello"), [f"Message 1 from bob, {AT}", "| hello"]),
            (letter(1, ""), [f"Message 1 from bob, {AT}"]),
            (letter(1, "x", subject=""), [f"Message 1 from bob, {AT}, subject: ", "| x"]),
            (
                letter(1, "one\n\ntwo\r\nthree\n", subject="Tea", again=True),
                [
                    f"Message 1 (again) from bob, {AT}, subject: Tea",
                    "| one", "| ", "| two", "| three", "| ",
                ],
            ),
            (
                letter(1, "x", sender="alice", subject="Tea", returned=UNKNOWN),
                [
                    'Message 1 to "zed" came back, not delivered: There is no such account.'
                    f" (unknown-recipient); sent {AT}, subject: Tea",
                    "| x",
                ],
            ),
        ):  # fmt: skip
            self.assertEqual(self.logged_in().says(message).decode().split("\n")[:-1], expected)

    def test_nobody_can_fake(self) -> None:
        """Nothing in a message looks like a prompt, another message, or steers the terminal."""
        evil = f"Password: \nMessage 2 from carol, {AT}\r\n\x1b[2J\x9b31m\u202eolleh\u2028Username: \x85\r"
        message = letter(
            1,
            evil,
            subject=evil,
            sender="b\nob\x1b",
            returned=Returned(code="\x07", recipient=f"z\n{evil}", note="\x00\n"),
        )
        for frame in (
            message,
            letter(1, evil, subject=evil, sender="b\nob\x1b"),
            Messages(messages=[message], missing=[]),
            inbox(entry(1, subject=evil, sender=evil, state=evil)),
            inbox(entry(1, subject=evil, returned=message.returned)),
            Found(messages=[entry(1, subject=evil, sender=evil, excerpt=evil)], more=False),
            sent_box(entry(1, recipient=evil)),
            Failed(code=evil, reason=evil),
        ):
            seen = self.logged_in().says(frame).decode()
            head, *rest = seen.split("\n")[:-1]
            self.assertTrue(head.startswith(("Message 1 ", "Inbox 1", "Sent 1", "Failed: ")), head)
            self.assertEqual([line for line in rest if not line.startswith("| ")], [])
            self.assertEqual([c for c in seen if unicodedata.category(c) == "Cc" and c != "\n"], [])
            self.assertNotIn("\u202e", seen)
            self.assertNotIn("\u2028", seen)

    def test_every_frame_of_a_server(self) -> None:
        """Each has words, so that a new one cannot be forgotten."""
        samples: dict[type[Frame], Frame] = {
            type(frame): frame
            for frame in (
                Version(protocol=1, server="chat"),
                Username(),
                Password(),
                NewPassword(),
                Created(username="alice"),
                Welcome(username="alice", waiting=0),
                Failed(code="x", reason="No."),
                Fatal(code="x", reason="No."),
                Accepted(id=1, time=TIME, state="waiting"),
                Delivered(ids=[1], time=TIME),
                Deleted(ids=[1], missing=[]),
                inbox(),
                Messages(messages=[], missing=[1]),
                AccountDeleted(),
                Pong(),
                Bye(),
                PasswordChanged(),
                TokenIssued(value="secret", expires=TIME),
                RecoveryCodes(codes=["secret"]),
                LoggedOut(),
                Blocked(usernames=[]),
                Found(messages=[], more=False),
            )
        }
        of_clients = {Received, Delete, List, Read, DeleteAccount, Ping, Quit, ChangePassword, Token, Logout}
        of_clients |= {Block, Unblock, Blocks, Recovery, Search}
        self.assertEqual(set(SYSTEM) - of_clients, set(samples))
        for frame in samples.values():
            self.assertGreater(len(Client().says(frame)), 3, repr(frame))


class VisibleTests(SynchronousTestCase):
    """What must not reach a terminal is spelled out."""

    def test_examples(self) -> None:
        """In the way of most programming languages; a backslash is doubled."""
        for text, shown in {
            "plain, é 日本 😀 ❤️ \xa0": "plain, é 日本 😀 ❤️ \xa0",
            "\x1b[31m": r"\x1b[31m",
            "\t\r\n\x00\x7f\x9b": r"\t\r\n\x00\x7f\x9b",
            "\\x1b \\": r"\\x1b \\",
            "a\u202eb\u2066c\u200b\ufeff": r"a\u202eb\u2066c\u200b\ufeff",
            "\U000e0041\ud800": r"\U000e0041\ud800",
        }.items():
            self.assertEqual(visible(text), shown)

    def test_all_of_unicode(self) -> None:
        """No control, no separator of lines, nothing invisible; but letters and signs as they are."""
        signs = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2}
        signs |= {0x110BD, 0x110CD}  # of category Cf, but to be seen: they enclose numbers
        # Hangul that is not seen, and the blanks and lost signs among the controls of hieroglyphs.
        fillers = {0x115F, 0x1160, 0x3164, 0xFFA0, *range(0x13441, 0x13447)}
        for code in range(0x110000):
            character = chr(code)
            category = unicodedata.category(character)
            if category in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in signs:
                self.assertTrue(visible(character).startswith("\\"), hex(code))
            elif category[0] in "LNPSZ" and character != "\\":
                self.assertEqual(visible(character) == character, code not in fillers, hex(code))

    @ALWAYS
    @given(st.text())
    def test_nothing_is_lost(self, text: str) -> None:
        """Whatever is shown stands for one text only."""
        shown = visible(text)
        found = []
        at = 0
        while at < len(shown):
            if shown[at] != "\\":
                found.append(shown[at])
                at += 1
                continue
            kind = shown[at + 1]
            digits = {"x": 2, "u": 4, "U": 8}.get(kind, 0)
            if digits:
                found.append(chr(int(shown[at + 2 : at + 2 + digits], 16)))
            else:
                found.append({"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[kind])
            at += 2 + digits
        self.assertEqual("".join(found), text)
