"""The text door: what is typed becomes frames, what the server says becomes words."""

from __future__ import annotations

import re
import tracemalloc
import unicodedata
from typing import Any, Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chat.messages import (
    BODY_BYTES,
    LOGIN_FRAME_BYTES,
    SYSTEM,
    USER_FRAME_BYTES,
    Accepted,
    AccountDeleted,
    Answer,
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
    Entry,
    Failed,
    Fatal,
    Found,
    Frame,
    Incoming,
    List,
    Listing,
    LoggedOut,
    Login,
    Logout,
    Message,
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
from chat.wire.text import TextTranslator
from chat.wire.text_words import HELP, SEARCH_HELP, visible
from chat.wire.translator import FRAMES_AT_ONCE, Translator
from tests.network import NetworkTestCase
from tests.strategies import ALWAYS, CUTS
from tests.wire import Wire

TIME = "2026-11-22T21:07:00.123Z"
AT = "2026-11-22 21:07:00 UTC"
HIDE, SHOW = b"\xff\xfb\x01", b"\xff\xfc\x01"
BINARY = b"\xff\xfd\x00"
MARK, MARK_WILL, MARK_WONT = b"\xff\xfd\x06", b"\xff\xfb\x06", b"\xff\xfc\x06"
HIDDEN = b"\xff\xfd\x01"  # DO ECHO: the client agrees
INTERRUPT = b"\xff\xf4\xff\xfd\x06"  # what telnet sends for Ctrl-C: IP, DO TIMING-MARK
WELCOME = b"Welcome, alice. No messages are waiting. /help lists the commands."


def letter(number: int, body: str = "hello", **more: Any) -> Message:
    """A message to alice, from bob unless told otherwise."""
    fields: dict[str, Any] = {"sender": "bob", "recipient": "alice", **more}
    return Message(id=number, time=TIME, body=body, **fields)


def sent(recipient: str, body: str, subject: str | None = None, receipt: bool = True) -> Message:
    """The frame of a message that is sent."""
    return Message(recipient=recipient, subject=subject, body=body, receipt=receipt)


def entry(number: int, **more: Any) -> Entry:
    """A line of a listing, of a message from bob to alice unless told otherwise."""
    fields: dict[str, Any] = {"sender": "bob", "recipient": "alice", "state": "waiting", **more}
    return Entry(id=number, time=TIME, **fields)


def inbox(*entries: Entry, more: bool = False) -> Listing:
    """A listing of the inbox."""
    return Listing(box="inbox", messages=list(entries), more=more)


def sent_box(*entries: Entry, more: bool = False) -> Listing:
    """A listing of what was sent."""
    return Listing(box="sent", messages=list(entries), more=more)


UNKNOWN = Returned(code="unknown-recipient", recipient="zed", note="There is no such account.")


class Client:
    """A person at a text door, and a session that answers as it is told.

    @ivar end: how the client ends its lines.
    """

    def __init__(self, end: bytes = b"\n") -> None:
        self.end = end
        self.door: Translator = TextTranslator()
        self.screen = self.door.render([Version(protocol=1, server="chat 1.0"), Username()])

    def says(self, *frames: Frame) -> bytes:
        """What the server's frames look like."""
        return self.door.render(frames)

    def arrives(self, octets: bytes, limit: int = USER_FRAME_BYTES) -> list[Incoming]:
        """What the door hands to the session when these bytes arrive."""
        self.door.feed(octets)
        return list(self.door.take(limit))

    def types(self, line: str, *answers: Frame) -> tuple[list[Frame], bytes]:
        """Type one line: the frames that the session gets, and what is seen then.

        The door's own answers take their turn before C{answers}.
        """
        incoming = self.arrives(line.encode() + self.end)
        own = [each.frame for each in incoming if isinstance(each, Answer)]
        frames = [each for each in incoming if not isinstance(each, Answer)]
        return frames, self.says(*own, *answers)

    def logs_in(self) -> None:
        """As alice."""
        self.types("alice", Password())
        if self.end == b"\r\n":
            self.arrives(HIDDEN)
        self.types("secret123", Welcome(username="alice", waiting=0))
        if self.end == b"\r\n":
            self.arrives(b"\xff\xfe\x01")


class DoorCase(SynchronousTestCase):
    """What the tests of the text door check."""

    def logged_in(self, end: bytes = b"\n") -> Client:
        """A client that is."""
        client = Client(end)
        client.logs_in()
        return client

    def answered(self, client: Client, line: str, *expected: str) -> None:
        """Check that the door itself answers this line, in these lines, and asks nothing."""
        frames, seen = client.types(line)
        self.assertEqual(frames, [], line)
        self.assertEqual(seen.decode(), "".join(f"{each}\n" for each in expected), line)


class TypedTests(DoorCase):
    """What is typed becomes frames."""

    def test_commands(self) -> None:
        """Each command, however it is spaced, becomes its frame."""
        for line, frame in {
            "/to bob hey there ": sent("bob", "hey there "),
            "/to  bob   hey": sent("bob", "hey"),
            "/To bob hey": sent("bob", "hey"),
            "/to\tbob //x": sent("bob", "//x"),
            "/inbox": List(box="inbox"),
            "/inbox 17": List(box="inbox", after=17),
            "/SENT": List(box="sent"),
            "/sent 0": List(box="sent"),
            "/inbox last": List(box="inbox", before=0),
            "/sent Last ": List(box="sent", before=0),
            "/sent <17": List(box="sent", before=17),
            "/search disk  full": Search(query="disk  full"),
            "/find <17 from:bob": Search(query="from:bob", before=17),
            "/search <x": Search(query="<x"),
            "/history bob": Search(query="with:bob"),
            "/history <17 bob": Search(query="with:bob", before=17),
            '/history "x y"': Search(query='with:"""x y"""'),
            "/read 17": Read(ids=[17]),
            "/read 17 18,19, 20": Read(ids=[17, 18, 19, 20]),
            "/delete 17 18": Delete(ids=[17, 18]),
            "/status 17": List(box="sent", after=16, limit=1),
            f"/read {2**63 - 1}": Read(ids=[2**63 - 1]),
            "/ping": Ping(),
            "/quit": Quit(),
            "/Quit now": Quit(),
        }.items():
            frames, seen = self.logged_in().types(line)
            self.assertEqual((frames, seen), ([frame], b""), line)

    def test_wrong_use(self) -> None:
        """A command that cannot be understood says how it is used, and asks nothing."""
        client = self.logged_in()
        for lines, answer in {
            ("/inbox x", "/inbox 1 2", "/inbox -1", f"/inbox {2**63}"): (
                "To list it: /inbox, /inbox N for what comes after message N, or /inbox last"
            ),
            ("/sent ²", "/sent <2 x", "/sent <", "/sent <1,2", "/sent last x"): (
                "To list it: /sent, /sent N for what comes after message N, or /sent last"
            ),
            ("/search", "/find  ", "/search <17"): (
                "To search: /search WORDS, or /search from:NAME; /help search tells more"
            ),
            ("/history",): "To see what you and somebody wrote to each other: /history NAME",
            ("/read", "/read x", "/read 1 x", "/read " + "9" * 5000, "/read \u0661"): (
                "To show messages again: /read N [N...]"
            ),
            ("/delete", "/delete x"): "To remove messages: /delete N [N...]",
            ("/status", "/status 0", "/status 1 2", "/status x"): (
                "To learn what became of message N: /status N"
            ),
            ("/write", "/write a b"): "To write a message of several lines: /write NAME",
            ("/to", "/to  "): "Nobody is chosen yet. To choose: /to NAME",
            ("/reply", "/reply hi"): ("Not sent: no message was shown yet that could be replied to."),
            ("/receipts maybe",): "To be told of deliveries or not: /receipts on, /receipts off",
            ("/cancel",): "There is nothing to give up.",
            ("/frobnicate", "/Frobnicate 1"): None,
            ("/",): "There is no command /; /help lists them all.",
            ("/\x1b[2J",): r"There is no command /\x1b[2J; /help lists them all.",
        }.items():
            for line in lines:
                name = line.split()[0]
                self.answered(client, line, answer or f"There is no command {name}; /help lists them all.")

    def test_help(self) -> None:
        """The help names every command, in lines of a terminal's width."""
        self.answered(self.logged_in(), "/help", *HELP)
        page = "\n".join(HELP)
        for command in (
            "to", "reply", "write", "inbox", "sent", "history", "search", "read", "delete", "status",
            "receipts", "passwd", "delete-account", "ping", "quit",
        ):  # fmt: skip
            self.assertIn(f"  /{command} ", page)
        self.assertLess(max(map(len, (*HELP, *SEARCH_HELP))), 80)
        self.answered(self.logged_in(), "/help search", *SEARCH_HELP)
        self.answered(self.logged_in(), "/help /Search ", *SEARCH_HELP)

    def test_bare_lines(self) -> None:
        """They go to the one last written to, never to whoever wrote in meanwhile."""
        client = self.logged_in()
        hint = "Not sent: nobody is chosen yet. Type /to NAME first; /help explains."
        self.answered(client, "hello", hint)
        self.answered(client, "", *[])
        self.answered(client, "   ", *[])
        self.answered(client, "/to bob", "What you type now goes to bob.")
        self.answered(client, "   ", *[])
        client.says(letter(1, sender="mallory"))
        for line, frames in {
            " hello ": [Received(ids=[1]), sent("bob", " hello ")],
            "//help": [sent("bob", "/help")],
            "/to carol hi": [sent("carol", "hi")],
            "and more": [sent("carol", "and more")],
            "/reply oh": [sent("mallory", "oh")],
            "still": [sent("mallory", "still")],
        }.items():
            self.assertEqual(client.types(line), (frames, b""))
        self.answered(client, "/to", "What you type now goes to mallory.")

    def test_reply(self) -> None:
        """It goes to the sender of the last message shown, and not to oneself for a return."""
        client = self.logged_in()
        client.says(letter(1), letter(2, sender="alice", returned=UNKNOWN))
        client.types("")
        self.answered(client, "/reply", "What you type now goes to bob.")
        client.types("/read 3", Messages(messages=[letter(3, sender="carol")], missing=[]))
        self.assertEqual(client.types("/reply hi")[0], [sent("carol", "hi")])

    def test_receipts(self) -> None:
        """They are asked for unless they were turned off."""
        client = self.logged_in()
        on = "Receipts are on: you are told when what you send is delivered."
        off = "Receipts are off: /status N or /sent tells what became of a message."
        self.answered(client, "/receipts", on)
        self.answered(client, "/receipts OFF", off)
        self.assertEqual(client.types("/to bob hi")[0], [sent("bob", "hi", receipt=False)])
        self.answered(client, "/receipts", off)
        self.answered(client, "/receipts On ", on)
        self.assertEqual(client.types("hi")[0], [sent("bob", "hi")])

    def test_not_utf8(self) -> None:
        """Such a line is refused whole and clearly, and the session goes on."""
        client = self.logged_in()
        answer, ping = client.arrives(b"/to bob caf\xe9\n/ping\n")
        self.assertEqual(
            client.says(answer.frame if isinstance(answer, Answer) else Bye()),
            b"Failed: That line was not UTF-8 and is ignored; type it again. (bad-frame)\n",
        )
        self.assertEqual(ping, Ping())

    def test_too_long(self) -> None:
        """A line over the limit is the end, after what came before it."""
        client = self.logged_in()
        ping, answer = client.arrives(b"/ping\n" + b"a" * USER_FRAME_BYTES)
        self.assertEqual(ping, Ping())
        assert isinstance(answer, Answer) and isinstance(answer.frame, Fatal)
        self.assertEqual(answer.frame.code, "frame-too-large")
        self.assertEqual(client.says(Pong()), b"The server is there.\n")
        client = Client()
        client.door.feed(b"a" * LOGIN_FRAME_BYTES)
        last = client.door.next(LOGIN_FRAME_BYTES)
        assert isinstance(last, Answer) and isinstance(last.frame, Fatal)
        self.assertIsNone(client.door.next(LOGIN_FRAME_BYTES))


class WriteTests(DoorCase):
    """A message with a subject and several lines."""

    def writes(self, *lines: str) -> tuple[list[Frame], bytes]:
        """The frames and the last thing seen, when these lines follow /write bob."""
        client = self.logged_in()
        found: list[Frame] = []
        client.types("/write bob")
        for line in lines:
            frames, seen = client.types(line)
            found += frames
        return found, seen

    def test_steps(self) -> None:
        """The subject is asked for, then the lines until a dot."""
        client = self.logged_in()
        frames, seen = client.types("/write bob")
        self.assertEqual(frames, [])
        self.assertEqual(
            seen,
            b"A message to bob. /cancel gives up. Type its subject, or nothing for none.\nSubject: ",
        )
        self.assertEqual(
            client.types("Tea"),
            (
                [],
                b'Now its lines. A line that is only "." ends and sends it; '
                b"a line that begins with a dot needs one dot more.\n",
            ),
        )
        self.assertEqual(client.types("At five?"), ([], b""))
        self.assertEqual(client.types("."), ([sent("bob", "At five?", "Tea")], b""))
        self.assertEqual(client.types("a bare line"), ([sent("bob", "a bare line")], b""))
        client.types("/write")
        client.types("no subject follows")
        self.assertEqual(client.types(".")[0], [sent("bob", "", "no subject follows")])

    def test_bodies(self) -> None:
        """What is typed is what is sent, blank lines included."""
        for lines, body in {
            (): "",
            ("",): "",
            ("", ""): "\n",
            ("one", "", " two "): "one\n\n two ",
            ("..", "...", ".x", "..x"): ".\n..\n.x\n.x",
            ("/to carol", "//cancel", "//x", "/cancel now"): "/to carol\n/cancel\n//x\n/cancel now",
        }.items():
            self.assertEqual(self.writes("", *lines, "."), ([sent("bob", body)], b""), str(lines))

    def test_giving_up(self) -> None:
        """/cancel gives up at the subject and in the body: nothing is sent, bare lines are bare again."""
        for lines in (["/cancel"], ["subject", "/cancel"], ["subject", "body", "/cancel"]):
            seen = b"Given up; nothing was sent or changed.\n"
            self.assertEqual(self.writes(*lines), ([], seen))
            self.assertIn(b"nobody is chosen", self.writes(*lines, "x")[1])

    def test_limit(self) -> None:
        """A body of the most bytes is sent; one byte more, and nothing is, and nothing is kept."""
        most = "é" * (BODY_BYTES // 4 - 1)
        body = f"{most}\nab\n{most}"
        self.assertEqual(len(body.encode()), BODY_BYTES)
        self.assertEqual(self.writes("", most, "ab", most, ".")[0], [sent("bob", body)])
        self.assertEqual(
            self.writes("", most, "ab", most, "", "."),
            (
                [],
                b"Not sent to bob: The body has 65537 bytes; a body may have at most 65536. (too-large)\n",
            ),
        )

    def test_memory(self) -> None:
        """A body that goes on and on is not kept."""
        client = self.logged_in()
        client.types("/write bob")
        client.types("")
        line = "x" * 50_000
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(100):
            client.types(line)
        self.assertLess(tracemalloc.get_traced_memory()[0], 1_000_000)
        self.assertIn(b"Not sent to bob", client.types(".")[1])

    def test_not_utf8(self) -> None:
        """A body with a line that is not UTF-8 is not sent without that line."""
        client = self.logged_in()
        client.types("/write bob")
        incoming = client.arrives(b"\xc3\nsubject\none\n\xc3\ntwo\n.\n/ping\n")
        self.assertEqual(incoming.pop(), Ping())
        seen = client.says(*[each.frame for each in incoming if isinstance(each, Answer)])
        self.assertEqual(
            seen.decode().splitlines(),
            [
                "Failed: That line was not UTF-8 and is ignored; type it again. (bad-frame)",
                "Subject: ",
                'Now its lines. A line that is only "." ends and sends it; '
                "a line that begins with a dot needs one dot more.",
                "Failed: That line was not UTF-8; this message cannot be sent. (bad-frame)",
                "Not sent to bob: One of its lines was not UTF-8. (bad-frame)",
            ],
        )

    def test_all_at_once(self) -> None:
        """A script may send everything at once; prompts then stand on lines of their own."""
        client = self.logged_in()
        said, subject, lines, message = client.arrives(b"/write bob\nTea\nAt five?\n.\n")
        self.assertEqual(message, sent("bob", "At five?", "Tea"))
        own = [each.frame for each in (said, subject, lines) if isinstance(each, Answer)]
        seen = client.says(*own, Accepted(id=17, time=TIME, state="waiting"))
        self.assertIn(b"\nSubject: \nNow its lines.", seen)
        self.assertTrue(seen.endswith(b"\nMessage 17 to bob: waiting.\n"))

    def test_a_message_comes_in_between(self) -> None:
        """It is shown on lines of its own, and the prompt is repeated."""
        client = self.logged_in()
        client.types("/write bob")
        self.assertEqual(
            client.says(letter(1), letter(2, "")),
            f"\nMessage 1 from bob, {AT}\n| hello\nMessage 2 from bob, {AT}\nSubject: ".encode(),
        )
        self.assertEqual(client.types("Tea")[0], [Received(ids=[1, 2])])
        self.assertEqual(client.says(letter(3, "")), f"Message 3 from bob, {AT}\n".encode())


class PasswordTests(DoorCase):
    """Passwords are typed twice where they are new, and never echoed by telnet."""

    def test_change(self) -> None:
        """The present one, then the new one twice."""
        client = self.logged_in()
        for line, seen in {
            "/passwd": b"First your present password; /cancel gives up.\nPassword: ",
            "secret123": b"New password: ",
            "secret456": b"Again: ",
            "secret45": b"The two were not the same. Type both again.\nNew password: ",
            "secret789": b"Again: ",
        }.items():
            self.assertEqual(client.types(line), ([], seen))
        self.assertEqual(
            client.types("secret789", PasswordChanged()),
            ([ChangePassword(password="secret123", new="secret789")], b"Your password is changed.\n"),
        )

    def test_recovery(self) -> None:
        """New recovery codes are shown once, after the password was asked again."""
        client = self.logged_in()
        question = b"Your password makes new recovery codes; /cancel keeps those you have.\nPassword: "
        self.assertEqual(client.types("/recovery"), ([], question))
        frames, seen = client.types("secret123", RecoveryCodes(codes=["se\x1bcret"]))
        self.assertEqual(frames, [Recovery(password="secret123")])
        self.assertTrue(seen.endswith(b"\n  se\\x1bcret\n"), seen)
        client.types("/recovery")
        self.assertEqual(client.types("/cancel"), ([], b"Given up; nothing was sent or changed.\n"))

    def test_token(self) -> None:
        """A token is shown once, with its end, and how to use it."""
        client = self.logged_in()
        frames, seen = client.types("/token", TokenIssued(value="se\x1bcret", expires=TIME))
        self.assertEqual(frames, [Token()])
        self.assertIn(rf"Token, until {AT}: se\x1bcret".encode() + b"\n", seen)
        self.assertIn(b"/token NAME", seen)

    def test_block(self) -> None:
        """Whom one has blocked is said after each change, and when it is asked."""
        client = self.logged_in()
        for line, frame in {
            "/block  mallory ": Block(username="mallory"),
            "/unblock mallory": Unblock(username="mallory"),
            "/blocks": Blocks(),
        }.items():
            frames, seen = client.types(line, Blocked(usernames=["eve", "m\u202eal"]))
            self.assertEqual((frames, seen), ([frame], b"Blocked: eve, m\\u202eal.\n"))
        self.assertEqual(client.types("/blocks", Blocked(usernames=[]))[1], b"You have blocked nobody.\n")
        self.assertEqual(client.types("/block")[0] + client.types("/unblock ")[0], [])

    def test_automatic(self) -> None:
        """What a program wrote is shown as such."""
        client = self.logged_in()
        seen = client.says(letter(7, automatic=True))
        self.assertEqual(seen.splitlines()[0], f"Message 7 from bob, {AT}, automatic".encode())

    def test_log_out(self) -> None:
        """/logout leads to the login again, and what is typed behind it waits for that."""
        client = self.logged_in()
        self.assertEqual(client.types("/logout now")[0], [])
        for line, frame in {"/logout": Logout(), "/logout ALL": Logout(all=True)}.items():
            client = self.logged_in()
            client.door.feed(f"{line}\nalice\n".encode())
            self.assertEqual(client.door.take(USER_FRAME_BYTES), [frame])
            self.assertIsNone(client.door.next(LOGIN_FRAME_BYTES))
            self.assertEqual(client.says(LoggedOut(), Username()), b"You are logged out.\nUsername: ")
            self.assertEqual(client.door.next(LOGIN_FRAME_BYTES), Login(field="username", value="alice"))

    def test_log_out_refused(self) -> None:
        """Where it is refused, the conversation goes on."""
        client = self.logged_in()
        seen = client.types("/logout", Failed(code="storage-full", reason="No room."))[1]
        self.assertEqual(seen, b"Failed: No room. (storage-full)\n")
        self.assertEqual(client.types("/ping")[0], [Ping()])

    def test_change_to_nothing(self) -> None:
        """The session says what is wrong with an empty one; it need not be typed twice."""
        client = self.logged_in()
        for line in ("/passwd", "secret123"):
            client.types(line)
        self.assertEqual(client.types("")[0], [ChangePassword(password="secret123", new="")])

    def test_given_up(self) -> None:
        """/cancel is no password anyone can have, and always gives up."""
        for lines in (["/passwd"], ["/passwd", "old"], ["/passwd", "old", "new"], ["/delete-account"]):
            client = self.logged_in()
            for line in lines:
                client.types(line)
            self.answered(client, "/cancel", "Given up; nothing was sent or changed.")
            self.assertEqual(client.types("/ping")[0], [Ping()])

    def test_delete_account(self) -> None:
        """The password is asked for; then this is the login again, and nothing is left over."""
        client = self.logged_in()
        client.says(letter(1))
        client.types("/to bob hi", Accepted(id=2, time=TIME, state="waiting"))
        self.assertEqual(
            client.types("/delete-account"),
            (
                [],
                b"Your password deletes the account alice; /cancel keeps it."
                b" Messages that still wait for you go back to their senders.\nPassword: ",
            ),
        )
        client.says(letter(3))
        self.assertEqual(
            client.types("secret123", AccountDeleted(), Username()),
            (
                [Received(ids=[3]), DeleteAccount(password="secret123")],
                b"Your account is deleted.\nUsername: ",
            ),
        )
        self.assertEqual(client.types("bob")[0], [Login(field="username", value="bob")])
        client.says(Password())
        client.types("secret123", Welcome(username="bob", waiting=0))
        self.answered(client, "/reply", "Not sent: no message was shown yet that could be replied to.")
        self.assertEqual(
            client.says(Delivered(ids=[2], time=TIME)), f"Message 2: delivered, {AT}.\n".encode()
        )

    def test_lines_behind_a_deletion(self) -> None:
        """What a line means behind it depends on its answer, so they wait for that."""
        typed = b"/ping\n/delete-account\nsecret123\ncarol\n/quit\n"
        client = self.logged_in()
        ping, *own, deletion = client.arrives(typed)
        self.assertEqual((ping, deletion), (Ping(), DeleteAccount(password="secret123")))
        client.says(*[each.frame for each in own if isinstance(each, Answer)], Pong())
        self.assertEqual(client.door.take(LOGIN_FRAME_BYTES), [])
        self.assertEqual(client.door.buffered, len(b"carol\n/quit\n"))
        client.says(AccountDeleted(), Username())
        self.assertEqual(client.door.take(LOGIN_FRAME_BYTES), [Login(field="username", value="carol")])
        client = self.logged_in()
        client.types("/to bob")
        client.arrives(typed)
        client.says(Pong())
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [])
        client.says(Failed(code="wrong-password", reason="Wrong."))
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [sent("bob", "carol"), Quit()])
        self.assertEqual(client.arrives(b"/ping\n"), [])

    def test_a_password_in_character_mode(self) -> None:
        """A client that leaves it to the server to rub out is understood."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        frames, _ = client.types("\x7f\bsecrx\x7fet13\b23")
        self.assertEqual(frames, [Login(field="password", value="secret123")])

    def test_a_password_longer_than_any(self) -> None:
        """Nothing is rubbed out in it, and no more of it is kept than what will be refused."""
        client = self.logged_in()
        long = "x\x7f" * LOGIN_FRAME_BYTES
        for line in ("/passwd", long, "new secret"):
            client.types(line)
        shown = ChangePassword(password=long[: LOGIN_FRAME_BYTES + 1], new="new secret")
        self.assertEqual(client.types("new secret")[0], [shown])


class LoginTests(DoorCase):
    """Prompts, a new account, mistakes."""

    def test_in_words(self) -> None:
        """A login, from the first byte, over nc: no stray byte."""
        client = Client()
        self.assertEqual(client.screen, b"chat 1.0, protocol 1\nUsername: ")
        self.assertEqual(
            client.types("alice", Password()),
            ([Login(field="username", value="alice")], b"Password: "),
        )
        self.assertEqual(
            client.types(" secret123 ", Welcome(username="alice", waiting=2)),
            (
                [Login(field="password", value=" secret123 ")],
                b"Welcome, alice. 2 messages are waiting. /help lists the commands.\n",
            ),
        )

    def test_sign_up(self) -> None:
        """A new password is typed twice, and the session hears of it when both are the same."""
        client = Client()
        free = b"This name is free. A password makes the account; Enter goes back.\n"
        self.assertEqual(client.types("alice", NewPassword())[1], free + b"New password: ")
        for line, seen in {
            "secret123": b"Again: ",
            "secret12": b"The two were not the same. Type both again.\nNew password: ",
            "secret456": b"Again: ",
        }.items():
            self.assertEqual(client.types(line), ([], seen))
        self.assertEqual(
            client.types("secret456", Created(username="alice"), Username()),
            (
                [Login(field="password", value="secret456", codes=True)],
                b"The account alice is made. Log in now.\nUsername: ",
            ),
        )

    def test_going_back(self) -> None:
        """Enter or /cancel leads back to the name: the session refuses a password of no bytes."""
        for lines in ([""], ["/cancel"], ["secret123", "/cancel"]):
            client = Client()
            client.types("alcie", NewPassword())
            for line in lines:
                frames, _ = client.types(line)
            self.assertEqual(frames, [Login(field="password", value="", codes=True)], str(lines))

    def test_names(self) -> None:
        """Anything may be a name, but for two commands; a doubled slash makes them names."""
        for line, name in {"/x": "/x", "//x": "/x", "//quit": "/quit", " a b ": " a b "}.items():
            self.assertEqual(Client().types(line)[0], [Login(field="username", value=name)])
        for line in ("", "  "):
            self.assertEqual(Client().types(line), ([], b"Username: "))
        frames, seen = Client().types("/help")
        self.assertEqual(frames, [])
        self.assertTrue(seen.endswith(b" lists the commands.\nUsername: "), seen)
        self.assertEqual(Client().types("/quit"), ([], b"Goodbye.\n"))

    def test_invited(self) -> None:
        """An invitation is pasted, or its code typed, before the name; then one signs up as anybody."""
        code = "7q2m-x0vd-3hfk-p9ws-c41n-ztj8-r5ye"
        line = f"chat://chat.example:5311/?code={code}&pin={'5f' * 32}"
        for typed in (line, f"chat join '{line}'", f"/invite {code}", f"/invite  {code} "):
            client = Client()
            self.assertEqual(
                client.types(typed, Username()), ([Login(field="invite", value=code)], b"Username: ")
            )
            self.assertTrue(client.types("carol", NewPassword())[1].endswith(b"New password: "))
            client.types("secret123")
            codes = ["h3xt-9wq0-kc7f-2zpm", "0d5r-x8yb-4t1n-vj6e"]
            self.assertEqual(
                client.types("secret123", Created(username="carol", recovery=codes), Username())[1],
                b"The account carol is made. Log in now.\n"
                b"Your recovery codes. Write them down now: they are not shown again. If you forget your\n"
                b"password, each of them lets you choose a new one, once.\n"
                b"  h3xt-9wq0-kc7f-2zpm\n  0d5r-x8yb-4t1n-vj6e\nUsername: ",
            )

    def test_wrongly_invited(self) -> None:
        """A line that was cut, and a code that is not good, are refused, and the name is asked again."""
        client = Client()
        line = "chat join 'chat://chat.example:5311/?code=7q2m-x0vd-3hf"
        frames, seen = client.types(line, Username())
        self.assertEqual(frames, [])
        self.assertRegex(seen, rb"^Failed: That is no invitation: .* \(wrong-invite\)\nUsername: $")
        answers = [Failed(code="wrong-invite", reason="No."), Username()]
        self.assertEqual(client.types("/invite x", *answers)[1], b"Failed: No. (wrong-invite)\nUsername: ")
        self.assertEqual(
            client.types("/invite"), ([], b"To sign up with an invitation: /invite CODE\nUsername: ")
        )

    def test_recovering(self) -> None:
        """/recover NAME asks for a code in place of the password, and then for a new one, twice."""
        client = Client()
        frames, seen = client.types("/recover alice", Password())
        self.assertEqual((frames, seen), ([Login(field="username", value="alice")], b"Recovery code: "))
        frames, seen = client.types(" h3xt-9wq0-kc7f-2zpm", NewPassword())
        self.assertEqual(frames, [Login(field="recovery", value="h3xt-9wq0-kc7f-2zpm")])
        self.assertEqual(
            seen,
            b"That code is good. Choose a new password; Enter goes back, and the code stays good.\n"
            b"New password: ",
        )
        self.assertEqual(client.types("secret456"), ([], b"Again: "))
        self.assertEqual(
            client.types("secret456", PasswordChanged(), Username()),
            ([Login(field="password", value="secret456")], b"Your password is changed.\nUsername: "),
        )
        self.assertIn(b"This name is free", client.types("carol", NewPassword())[1])

    def test_not_recovered(self) -> None:
        """A wrong code is refused; what comes after it is about the next name."""
        client = Client()
        usage = b"To choose a new password with a recovery code: /recover NAME\nUsername: "
        self.assertEqual(client.types("/recover"), ([], usage))
        client.types("/recover alice", Password())
        answers = [Failed(code="wrong-recovery", reason="No."), Username()]
        self.assertEqual(client.types("x", *answers)[1], b"Failed: No. (wrong-recovery)\nUsername: ")
        self.assertIn(b"This name is free", client.types("carol", NewPassword())[1])

    def test_with_a_token(self) -> None:
        """/token NAME asks for a token in place of the password, once."""
        client = Client()
        answers = [Failed(code="wrong-token", reason="No."), Username()]
        frames, seen = client.types("/token alice", Password())
        self.assertEqual((frames, seen), ([Login(field="username", value="alice")], b"Token: "))
        frames, seen = client.types(" secret ", *answers)
        self.assertEqual(frames, [Login(field="token", value="secret")])
        self.assertEqual(seen, b"Failed: No. (wrong-token)\nUsername: ")
        self.assertEqual(client.types("alice", Password())[1], b"Password: ")
        self.assertEqual(client.types("secret123")[0], [Login(field="password", value="secret123")])

    def test_token_of_nobody(self) -> None:
        """Who has no token, or no name, is asked what everybody is asked."""
        client = Client()
        usage = b"To log in with a token: /token NAME\nUsername: "
        for line in ("/token", "/token  "):
            self.assertEqual(client.types(line), ([], usage))
        self.assertEqual(client.types("/tokens")[0], [Login(field="username", value="/tokens")])
        client = Client()
        self.assertTrue(client.types("/token alcie", NewPassword())[1].endswith(b"New password: "))
        client.types("", Failed(code="bad-password", reason="No."), Username())
        self.assertEqual(client.types("alice", Password())[1], b"Password: ")

    def test_not_utf8_in_place_of_a_token(self) -> None:
        """The same is asked again, not for a password."""
        for command, prompt, field in (
            ("/token alice", b"Token: ", "token"),
            ("/recover alice", b"Recovery code: ", "recovery"),
        ):
            client = Client()
            client.types(command, Password())
            for _ in range(2):
                (answer,) = client.arrives(b"\xe9\n", LOGIN_FRAME_BYTES)
                assert isinstance(answer, Answer)
                self.assertTrue(client.says(answer.frame, Password()).endswith(b"\n" + prompt))
            answers = (Failed(code="x", reason="No."), Username())
            self.assertEqual(client.types("secret", *answers)[0], [Login(field=field, value="secret")])
            self.assertEqual(client.types("alice", Password())[1], b"Password: ")

    def test_hidden_token(self) -> None:
        """Telnet does not show it while it is typed."""
        client = Client(b"\r\n")
        self.assertIn(HIDE, client.types("/token alice", Password())[1])

    def test_refused(self) -> None:
        """The refusal is said, and the prompt comes again."""
        client = Client()
        refusal = Failed(code="slow-down", reason="Too many attempts.", seconds=30)
        self.assertEqual(
            client.types("alice", refusal, Username())[1],
            b"Failed: Too many attempts. (slow-down) Try again in 30 seconds.\nUsername: ",
        )
        self.assertEqual(client.types("bob")[0], [Login(field="username", value="bob")])

    def test_not_utf8(self) -> None:
        """Not as a name, nor as a password; the session gives the prompt again."""
        for start in ([], [Password()], [NewPassword()]):
            client = Client()
            if start:
                client.types("alice", *start)
            (answer,) = client.arrives(b"\xe9\n", LOGIN_FRAME_BYTES)
            assert isinstance(answer, Answer)
            self.assertTrue(
                client.says(answer.frame, *(start or [Username()])).startswith(b"Failed: That line")
            )
            frames, _ = client.types("right")
            values = [frame.value for frame in frames if isinstance(frame, Login)]
            self.assertEqual(values, [] if start == [NewPassword()] else ["right"])

    def test_all_at_once(self) -> None:
        """Each line waits for what tells its meaning."""
        client = Client()
        door = client.door
        door.feed(b"alice\nsecret123\n/ping\n")
        self.assertEqual(door.take(LOGIN_FRAME_BYTES), [Login(field="username", value="alice")])
        self.assertIsNone(door.next(LOGIN_FRAME_BYTES))
        self.assertEqual(client.says(Password()), b"Password: ")
        self.assertEqual(door.next(LOGIN_FRAME_BYTES), Login(field="password", value="secret123"))
        self.assertIsNone(door.next(LOGIN_FRAME_BYTES))
        client.says(Welcome(username="alice", waiting=0))
        self.assertEqual(door.take(USER_FRAME_BYTES), [Ping()])
        self.assertEqual(door.buffered, 0)

    def test_before_the_prompt(self) -> None:
        """What a client sends before it is asked waits for the question."""
        door = TextTranslator()
        door.feed(b"alice\n")
        self.assertIsNone(door.next(LOGIN_FRAME_BYTES))
        door.render([Username()])
        self.assertEqual(door.next(LOGIN_FRAME_BYTES), Login(field="username", value="alice"))

    def test_time_out(self) -> None:
        """The last word has a line of its own, and no prompt after it."""
        client = Client()
        self.assertEqual(
            client.says(Fatal(code="login-timeout", reason="Too slow.")),
            b"\nThe connection is closed: Too slow. (login-timeout)\n",
        )


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


def talk(take: Callable[[TextTranslator], list[Incoming]], pieces: list[bytes]) -> list[object]:
    """What comes of these pieces at a door where alice is logged in, and what she sees.

    The server answers what it is asked, delivers a message after each piece, and is taken at its word.
    """
    door = TextTranslator()
    door.render([Version(protocol=1, server="chat"), Username()])
    answers: dict[type, Frame] = {
        Ping: Pong(),
        Quit: Bye(),
        List: inbox(entry(3)),
        Read: Messages(messages=[letter(3)], missing=[]),
        Delete: Deleted(ids=[3], missing=[]),
        Message: Accepted(id=9, time=TIME, state="waiting"),
    }
    told: list[object] = []
    opening = b"alice\r\nsecret123\r\n" if pieces[0] else b"alice\nsecret123\n"
    for number, piece in enumerate([opening, *pieces]):
        door.feed(piece)
        while incoming := take(door):
            told += incoming
            said: list[Frame] = []
            for one in incoming:
                if isinstance(one, Login):
                    said.append(
                        Password() if one.field == "username" else Welcome(username="alice", waiting=0)
                    )
                elif isinstance(one, Answer):
                    said.append(one.frame)
                elif type(one) in answers:
                    said.append(answers[type(one)])
            told.append(door.render(said))
        told.append(door.render([letter(100 + number)]))
    return told


def cut(wire: bytes, cuts: list[int]) -> list[bytes]:
    """The wire in pieces of these lengths, over and over."""
    pieces: list[bytes] = []
    while wire:
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(wire[:size])
        wire = wire[size:]
    return pieces


def one_by_one(door: TextTranslator) -> list[Incoming]:
    """What C{take} would give, frame by frame."""
    frames = []
    while (frame := door.next(USER_FRAME_BYTES)) is not None:
        frames.append(frame)
    return frames


class BatchTests(DoorCase):
    """Lines that arrive together are what they are one by one."""

    @ALWAYS
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"hey\n",
                    b"/to bob hey there\r\n",
                    b"/TO  bob  hey \n",
                    b"/to carol\n",
                    b"//quit\n",
                    b" \n",
                    b"\n\n",
                    "é €\n".encode(),
                    b"\xff\n",
                    b"a\r\0b\n",
                    b"/ping\n/ping\n",
                    b"/receipts off\n",
                    b"/write bob\nabout\nline\n.\n",
                    b"/cancel\n",
                    b"/reply yes\n",
                    b"/read 3\nhey\n",
                    b"/quit\n",
                    b"half a ",
                    b"\xff\xf1",
                    b"\xff\xfb\x06",
                    b"\xff\xf4\xff\xfd\x06",
                    b"hey\nhey\n/to bob hey\nhey\n",
                ]
            ),
            min_size=1,
            max_size=8,
        ),
        CUTS,
    )
    def test_any(self, said: list[bytes], cuts: list[int]) -> None:
        """Whatever is typed, however it is cut."""
        wire = b"".join(said)
        for pieces in (said, [b"", wire], [b"", *said], cut(wire, cuts)):
            self.assertEqual(
                talk(lambda door: list(door.take(USER_FRAME_BYTES)), pieces), talk(one_by_one, pieces)
            )

    def test_many(self) -> None:
        """A thousand lines are taken at once, those behind them after the others had their turn."""
        client = self.logged_in()
        client.door.feed(b"/to bob x\n" * (FRAMES_AT_ONCE + 1))
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [sent("bob", "x")] * FRAMES_AT_ONCE)
        self.assertTrue(client.door.more)
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [sent("bob", "x")])
        self.assertFalse(client.door.more)

    def test_order(self) -> None:
        """What is due already comes before what more lines ask for."""
        client = self.logged_in()
        client.types("/to bob")
        client.door.feed(b"/ping\n" * (FRAMES_AT_ONCE - 1))
        client.says(letter(7))
        client.door.feed(b"/ping\nx\n")
        self.assertEqual(client.door.take(USER_FRAME_BYTES)[-2:], [Ping(), Received(ids=[7])])
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [Ping(), sent("bob", "x")])
        client = self.logged_in(b"\r\n")
        (answer,) = client.arrives(INTERRUPT)
        assert isinstance(answer, Answer)
        client.says(letter(8), answer.frame)
        self.assertEqual(client.arrives(b"/to bob x\r\n"), [Read(ids=[8]), sent("bob", "x")])

    def test_before_the_login(self) -> None:
        """There a line sends nothing, whatever it looks like."""
        client = Client()
        client.types("alice", Failed(code="bad-name", reason="No."), Username())
        self.assertEqual(client.types("/to bob x")[0], [Login(field="username", value="/to bob x")])

    def test_limit(self) -> None:
        """A line that is too long is refused behind those that are not."""
        client = self.logged_in()
        first, second, answer = client.arrives(b"/to bob x\n/to bob y\n/to bob " + b"z" * 20 + b"\n", 20)
        self.assertEqual([first, second], [sent("bob", "x"), sent("bob", "y")])
        assert isinstance(answer, Answer) and isinstance(answer.frame, Fatal)
        self.assertEqual(answer.frame.code, "frame-too-large")

    def test_nothing_is_left_behind(self) -> None:
        """As long as there is a frame to take, something is said to wait."""
        client = Client()
        client.door.feed(b"/help\n")
        self.assertIsInstance(client.door.next(LOGIN_FRAME_BYTES), Answer)
        self.assertGreater(client.door.buffered, 0)
        self.assertIsInstance(client.door.next(LOGIN_FRAME_BYTES), Answer)
        self.assertEqual(client.door.buffered, 0)

    def test_confirmation(self) -> None:
        """The first of many lines confirms what was shown before them, once."""
        client = self.logged_in()
        client.says(letter(7), letter(8))
        self.assertEqual(
            client.arrives(b"/to bob x\nx\n"), [Received(ids=[7, 8]), sent("bob", "x"), sent("bob", "x")]
        )
        self.assertEqual(client.arrives(b"x\n"), [sent("bob", "x")])


class TelnetTests(DoorCase):
    """Over telnet: hidden passwords, confirmation by itself, interrupts."""

    def test_login(self) -> None:
        """Passwords are hidden, and the line end that was not echoed is made up for."""
        client = Client(b"\r\n")
        self.assertEqual(client.screen, b"chat 1.0, protocol 1\nUsername: ")
        self.assertEqual(client.types("alice", Password())[1], BINARY + HIDE + b"Password: ")
        self.assertEqual(client.arrives(HIDDEN), [])
        frames, seen = client.types("secret123", Welcome(username="alice", waiting=0))
        self.assertEqual(frames, [Login(field="password", value="secret123")])
        self.assertEqual(seen, SHOW + b"\r\n" + WELCOME + b"\r\n")
        self.assertEqual(client.arrives(b"\xff\xfe\x01"), [])

    def test_sign_up(self) -> None:
        """Both passwords are hidden."""
        client = Client(b"\r\n")
        seen = client.types("alice", NewPassword())[1]
        self.assertTrue(seen.endswith(b"\r\n" + BINARY + HIDE + b"New password: "), seen)
        self.assertEqual(client.types("secret123")[1], b"\r\nAgain: ")
        self.assertEqual(
            client.types("secret12")[1],
            SHOW + b"\r\nThe two were not the same. Type both again.\r\n" + HIDE + b"New password: ",
        )
        client.types("secret123")
        self.assertEqual(
            client.types("secret123", Created(username="alice"), Username())[1],
            SHOW + b"\r\nThe account alice is made. Log in now.\r\nUsername: ",
        )

    def test_wrong_password(self) -> None:
        """What is typed next is seen again."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        self.assertEqual(client.types("secret", Username())[1], b"\r\n" + SHOW + b"Username: ")

    def test_a_client_that_echoes_itself(self) -> None:
        """It needs no line end made up."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        client.arrives(b"\xff\xfe\x01")
        seen = client.types("secret123", Welcome(username="alice", waiting=0))[1]
        self.assertEqual(seen, WELCOME + b"\r\n")

    def test_a_client_that_speaks_first(self) -> None:
        """Like PuTTY: each offer is refused once, in its turn, and it is telnet from then on."""
        client = Client(b"\r\n")
        (answer,) = client.arrives(b"\xff\xfb\x1f\xff\xfb\x18\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03")
        assert isinstance(answer, Answer)
        self.assertEqual(
            client.says(answer.frame),
            b"\xff\xfe\x1f\xff\xfe\x18\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03",
        )
        self.assertTrue(client.says(Fatal(code="x", reason="No.")).startswith(b"\r\nThe connection"))

    def test_are_you_there(self) -> None:
        """Answered once, however often it is asked at once."""
        (answer,) = self.logged_in(b"\r\n").arrives(b"\xff\xf6" * 100)
        assert isinstance(answer, Answer)
        self.assertEqual(self.logged_in().says(answer.frame), b"\r\n[Yes]\r\n")
        seen = self.logged_in().says(Pong(), Pong(), answer.frame, Pong())
        pong = b"The server is there.\n"
        self.assertEqual(seen, pong + pong + b"\r\n[Yes]\r\n" + pong)

    def test_a_password_prompt_is_cut_off(self) -> None:
        """By a message: what is typed stays hidden all the time."""
        client = self.logged_in(b"\r\n")
        client.types("/passwd")
        self.assertEqual(
            client.says(letter(1, "")),
            f"\r\nMessage 1 from bob, {AT}\r\nPassword: ".encode() + MARK,
        )

    def test_confirmation(self) -> None:
        """Each batch is followed by a mark, and the answer, be it a refusal, confirms it."""
        client = self.logged_in(b"\r\n")
        self.assertEqual(client.arrives(MARK_WILL), [], "nothing was asked")
        seen = client.says(letter(1), letter(2))
        self.assertTrue(seen.endswith(b"| hello\r\n" + MARK))
        self.assertEqual(seen.count(MARK), 1)
        client.says(letter(3))
        self.assertEqual(client.types("/ping")[0], [Ping()], "a line proves nothing here")
        self.assertEqual(client.says(Pong()), b"The server is there.\r\n")
        self.assertEqual(client.arrives(MARK_WONT + MARK_WILL), [Received(ids=[1, 2]), Received(ids=[3])])
        self.assertEqual(client.arrives(MARK_WONT), [])

    def test_what_was_read_needs_none(self) -> None:
        """Only deliveries are confirmed."""
        client = self.logged_in(b"\r\n")
        seen = client.types("/read 1", Messages(messages=[letter(1)], missing=[]))[1]
        self.assertTrue(seen.endswith(b"| hello\r\n"))

    def test_the_clients_own_mark(self) -> None:
        """It is always answered: inetutils telnet shows nothing until then."""
        client = self.logged_in(b"\r\n")
        (answer,) = client.arrives(b"\xff\xed" + MARK)  # SUSP, DO TIMING-MARK
        assert isinstance(answer, Answer)
        self.assertEqual(client.says(answer.frame), MARK_WILL)

    def test_what_was_thrown_away(self) -> None:
        """Until its own mark is answered the client throws away what comes: it is shown again."""
        client = self.logged_in(b"\r\n")
        client.says(letter(1), letter(2))
        answer, read = client.arrives(INTERRUPT + MARK_WONT)
        assert isinstance(answer, Answer)
        self.assertEqual(read, Read(ids=[1, 2]), "although the client answers the mark")
        seen = client.says(letter(3), answer.frame, letter(4))
        self.assertTrue(seen.endswith(b"| hello\r\n" + MARK), seen)
        self.assertGreater(client.door.buffered, 0, "there is something to take")
        self.assertEqual(client.door.take(USER_FRAME_BYTES), [Read(ids=[3])])
        seen = client.says(Messages(messages=[letter(1), letter(2)], missing=[]))
        self.assertEqual(
            seen,
            f"Message 1 (again) from bob, {AT}\r\n| hello\r\n"
            f"Message 2 (again) from bob, {AT}\r\n| hello\r\n".encode()
            + MARK,
        )
        client.says(Messages(messages=[letter(3)], missing=[]))
        for ids in ([4], [1, 2], [3]):
            self.assertEqual(client.arrives(MARK_WILL), [Received(ids=ids)])

    def test_more_than_can_be_read_at_once(self) -> None:
        """What was thrown away is read in pages; what is gone meanwhile is not mentioned."""
        client = self.logged_in(b"\r\n")
        client.says(*[letter(number) for number in range(1, 151)])
        answer, *reads = client.arrives(INTERRUPT)
        assert isinstance(answer, Answer)
        self.assertEqual(reads, [Read(ids=list(range(1, 101))), Read(ids=list(range(101, 151)))])
        self.assertEqual(client.says(answer.frame), MARK_WILL)
        self.assertEqual(client.arrives(MARK_WONT), [], "the mark of what was lost")
        seen = client.says(Messages(messages=[letter(1), letter(2)], missing=[3]))
        self.assertEqual(seen.count(b" (again) "), 2)
        self.assertNotIn(b"Not in your mailbox", seen)
        self.assertTrue(seen.endswith(MARK))
        self.assertEqual(client.arrives(MARK_WONT), [Received(ids=[1, 2])])

    def test_another_login(self) -> None:
        """What one account was shown is never confirmed for the next one."""
        client = self.logged_in(b"\r\n")
        client.says(letter(1))
        for line in ("/delete-account", "secret123"):
            client.types(line)
        client.says(AccountDeleted(), Username())
        client.types("bob", Password())
        client.types("secret123", Welcome(username="bob", waiting=1))
        client.says(letter(2))
        self.assertEqual(client.arrives(MARK_WONT), [])
        self.assertEqual(client.arrives(MARK_WONT), [Received(ids=[2])])

    def test_ctrl_c(self) -> None:
        """It gives up a dialog, and does nothing elsewhere."""
        for end in (b"\r\n", b"\n"):
            client = Client(end)
            self.assertEqual(client.arrives(INTERRUPT[:2]), [])
        client = self.logged_in(b"\r\n")
        self.assertEqual(client.arrives(INTERRUPT[:2]), [])
        client.types("/passwd")
        (answer,) = client.arrives(INTERRUPT[:2])
        assert isinstance(answer, Answer)
        self.assertEqual(client.says(answer.frame), SHOW + b"\r\nGiven up; nothing was sent or changed.\r\n")
        self.assertEqual(client.types("/ping")[0], [Ping()])

    def test_not_quite_telnet(self) -> None:
        """Lines of CR LF from something that never answers (nc -C): typed lines confirm, marks end."""
        client = Client(b"\r\n")
        client.types("alice", Password())
        client.types("secret123", Welcome(username="alice", waiting=0))
        self.assertTrue(client.says(letter(1)).endswith(MARK))
        self.assertEqual(client.types("")[0], [Received(ids=[1])])
        self.assertTrue(client.says(letter(2)).endswith(b"hello\r\n"))
        self.assertEqual(client.types("")[0], [Received(ids=[2])])
        self.assertEqual(client.arrives(MARK_WONT), [], "so it is telnet after all")
        self.assertTrue(client.says(letter(3)).endswith(MARK))
        self.assertEqual(client.types("")[0], [])
        self.assertEqual(client.arrives(MARK_WONT), [Received(ids=[3])])

    def test_many_unanswered_marks(self) -> None:
        """However many, no answer confirms what was shown behind its mark, and the last one all there is."""
        client = self.logged_in(b"\r\n")
        count = 1100
        for number in range(1, count + 1):
            self.assertTrue(client.says(letter(number)).endswith(MARK))
        confirmed: list[int] = []
        for number in range(1, count + 1):
            for frame in client.arrives(MARK_WONT):
                assert isinstance(frame, Received)
                confirmed += frame.ids
            self.assertLessEqual(max(confirmed, default=0), number)
        self.assertEqual(confirmed, list(range(1, count + 1)))
        self.assertEqual(client.arrives(MARK_WONT), [])

    def test_many_thrown_away(self) -> None:
        """What was shown with so many marks is shown again, too, and none of them confirms that."""
        client = self.logged_in(b"\r\n")
        for number in range(1, 601):
            client.says(letter(number))
        answer, *reads = client.arrives(INTERRUPT)
        assert isinstance(answer, Answer)
        client.says(answer.frame, Messages(messages=[letter(1)], missing=[]))
        self.assertEqual(reads, [Read(ids=list(range(first, first + 100))) for first in range(1, 601, 100)])
        self.assertEqual(client.arrives(MARK_WONT * 600), [])
        self.assertEqual(client.arrives(MARK_WONT), [Received(ids=[1])])


class PlainTests(DoorCase):
    """Over nc: no stray byte, and the next line confirms."""

    def test_confirmation(self) -> None:
        """Any line that arrives after a message was shown, even an empty one or none that is text."""
        for line in (b"\n", b"/ping\n", b"\xff\n"):
            client = self.logged_in()
            client.says(letter(1), letter(2))
            client.says(letter(3))
            self.assertEqual(client.arrives(line)[0], Received(ids=[1, 2, 3]))
            self.assertNotIn(Received(ids=[]), client.arrives(line))

    def test_a_line_that_was_there_before(self) -> None:
        """Proves nothing, even if it is looked at later."""
        client = Client()
        door = client.door
        door.feed(b"alice\nsecret123\n\n\n")
        for prompt in (Username(), Password()):
            client.says(prompt)
            door.next(LOGIN_FRAME_BYTES)
        client.says(Welcome(username="alice", waiting=1), letter(1))
        self.assertEqual(door.take(USER_FRAME_BYTES), [])
        self.assertEqual(client.arrives(b"x"), [])
        self.assertEqual(client.arrives(b"\n")[0], Received(ids=[1]))

    def test_no_stray_byte(self) -> None:
        """Whatever nc sends, it is never sent a telnet command."""
        client = self.logged_in()
        seen = client.says(letter(1))
        for line in ("/passwd", "x", "y", "y"):
            seen += client.types(line)[1]
        for octets in (b"\xff\xfe\n", b"\xff\xfd\x06\n", b"\xff\xf6\n", b"\xff\xff\n"):
            (answer, *_) = [each for each in client.arrives(octets) if isinstance(each, Answer)]
            seen += client.says(answer.frame)
        self.assertEqual(seen.count(b"not UTF-8"), 4)
        self.assertNotIn(b"\xff", seen)
        self.assertNotIn(b"\r", seen)


class ThroughTheServerTests(NetworkTestCase):
    """What is seen when the door's own words and the session's come together."""

    def test_prompted_once(self) -> None:
        """Whatever was typed at the user name is answered by one prompt."""
        protocol = self.network.doors["text"].buildProtocol(None)
        wire = Wire(protocol)
        protocol.makeConnection(wire)
        self.network.settle()
        wire.read()
        for line in (b"", b"/help", b"/invite", b"/invite x", b"chat join 'chat://cut'", b"\xff", b"a b"):
            wire.arrive(line + b"\n")
            self.network.settle()
            seen = wire.read()
            self.assertEqual(seen.count(b"Username: "), 1, seen)
            self.assertTrue(seen.endswith(b"Username: "), seen)


#: Frames that a session may say in answer to a frame, for trying the door with anything at all.
ANSWERS: dict[type[Frame], Sequence[Frame]] = {
    Message: (Accepted(id=5, time=TIME, state="waiting"), Failed(code="too-large", reason="No.")),
    List: (inbox(entry(1, subject="\x1b")), sent_box()),
    Read: (Messages(messages=[letter(1, "\x1b\n\u202e")], missing=[2]),),
    Delete: (Deleted(ids=[1], missing=[2]),),
    Ping: (Pong(),),
    ChangePassword: (PasswordChanged(), Failed(code="wrong-password", reason="No.")),
    DeleteAccount: (Failed(code="wrong-password", reason="No."),),
    Token: (TokenIssued(value="secret", expires=TIME), Failed(code="storage-full", reason="No.")),
    Logout: (Failed(code="storage-full", reason="No."),),
}
TYPED = st.lists(
    st.one_of(
        st.sampled_from(
            b"/to bob hi\n,/write bob\r\n,.\n,/passwd\n,x\n,\n,/cancel\r\n,/delete-account\n,/read 1\n,"
            b"/inbox\n,/status 1\n,\xff\xfd\x06,\xff\xfc\x06,\xff\xf4,\xff\xfa,\xff\xf0,\xff\xfd\x01,"
            b"/token\n,/logout\n,\xff\xfe\x01".split(b",")
        ),
        st.binary(max_size=20),
        st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass") + b"\n"),
    ),
    max_size=20,
)


class AnythingTests(SynchronousTestCase):
    """Whatever is typed and whatever is said, the door does not break."""

    @ALWAYS
    @given(st.sampled_from([b"\n", b"\r\n"]), TYPED, st.text(), st.randoms(use_true_random=False))
    def test_conversation(self, end: bytes, typed: list[bytes], text: str, random: Any) -> None:
        """No input raises, and no raw control character of others comes out."""
        client = Client(end)
        client.logs_in()
        seen = b""
        for octets in typed:
            for each in client.arrives(octets):
                if isinstance(each, Answer):
                    seen += client.says(each.frame)
                elif type(each) in ANSWERS:
                    seen += client.says(random.choice(ANSWERS[type(each)]))
            if random.random() < 0.3:
                number = random.randrange(9)
                seen += client.says(letter(number, text, subject=text, sender=text[:9]))
        seen = re.sub(rb"\xff[\xfb-\xfe].", b"", seen, flags=re.DOTALL)  # what telnet itself is told
        for line in seen.decode("utf-8", "replace").splitlines():
            self.assertEqual([c for c in line if unicodedata.category(c) == "Cc"], [], repr(line))
