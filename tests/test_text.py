"""Tests for the text door: what is typed."""

from __future__ import annotations

import tracemalloc

from chat.messages import (
    BODY_BYTES,
    LOGIN_FRAME_BYTES,
    USER_FRAME_BYTES,
    Accepted,
    Answer,
    Bye,
    Delete,
    Fatal,
    Frame,
    List,
    Messages,
    Ping,
    Pong,
    Quit,
    Read,
    Received,
    Search,
)
from chat.wire.text_words import HELP, SEARCH_HELP
from tests.text_client import AT, TIME, UNKNOWN, Client, DoorCase, letter, sent


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
