"""What a person types at the client: commands, completion, history, on real terminals."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from unittest import skipUnless

import pexpect
from twisted.trial.unittest import SynchronousTestCase

from chat.client.commands import ALL_NAMES, ClientCommands
from chat.client.completion import Acquaintances
from chat.client.history import LineHistory
from chat.client.teller import WordTeller
from chat.client.wording import Wording
from chat.messages import (
    Entry,
    Found,
    Frame,
    List,
    Listing,
    Message,
    Search,
)
from tests.line_case import TERMINALS, WHEN, LineTests, shared_daemon
from tests.memory_server import TIME, MemorySession
from tests.terminals import left, put_away

NOW = 1795381620.0  # 2026-11-22T21:07:00Z


class CompletionTests(SynchronousTestCase):
    """What Tab offers."""

    def setUp(self) -> None:
        """Alice knows a few."""
        self.known = Acquaintances(["bob", "barbara"])
        self.known.meet("carol", "two words")

    def test_completions(self) -> None:
        """Commands, names where a name is meant, and the words of a query."""
        for before, words in (
            ("/hist", ["/history"]),
            ("/to b", ["barbara", "bob"]),
            ("/to B", ["barbara", "bob"]),
            ("/to bob he", []),
            ("/block ", ["barbara", "bob", "carol"]),
            ("/receipts o", ["on", "off"]),
            ("/search from:c", ["carol"]),
            ("/search fox w", ["with:"]),
            ("/search s", ["subject:", "since:"]),
            ("/search ", []),
            ("hello b", []),
            ("//to b", []),
            ("/passwd ", []),
        ):
            offered, replaced = self.known.completions(before)
            self.assertEqual(offered, words, before)
            self.assertTrue(all(word.startswith(before[len(before) - replaced :].lower()) for word in words))

    def test_commands(self) -> None:
        """All commands are offered, each once."""
        offered, _ = self.known.completions("/")
        self.assertEqual(tuple(offered), ALL_NAMES)
        self.assertEqual(len(set(ALL_NAMES)), len(ALL_NAMES))

    def test_met(self) -> None:
        """Those met this time are told apart, the latest last."""
        self.known.meet("bob", "carol")
        self.assertEqual(self.known.met, ["two words", "bob", "carol"])


class HistoryTests(SynchronousTestCase):
    """The lines typed, from one run to the next."""

    def setUp(self) -> None:
        """A file that is not there yet."""
        self.path = Path(self.mktemp()).absolute() / "profile" / "history"

    def strings(self) -> list[str]:
        """What the next run finds, oldest first."""
        return list(LineHistory(self.path).load_history_strings())[::-1]

    def test_kept(self) -> None:
        """Lines are kept in order, in a file that nobody else may read; nothing twice in a row."""
        history = LineHistory(self.path)
        for line in ("one", "two\nlines", "two\nlines", "  ", "über", "no text \udcff"):
            history.append_string(line)
        self.assertEqual(self.strings(), ["one", "two\nlines", "über"])
        if os.name == "posix":
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_no_secrets(self) -> None:
        """What somebody typed behind a command that asks for a secret is not kept."""
        history = LineHistory(self.path)
        for line in ("/passwd hunter2", "/Recovery f3x9", "/token\tt0ken", " /delete-account hunter2"):
            history.append_string(line)
        history.append_string("/passwd\nhunter2\nhunter3\nhunter3")  # pasted
        self.assertEqual(self.strings(), ["/passwd", "/recovery", "/token", "/delete-account", "/passwd"])
        self.assertNotIn(b"hunter2", self.path.read_bytes())
        self.assertNotIn("hunter2", "".join(history.get_strings()))

    def test_bounded(self) -> None:
        """The file does not grow for ever, and a line that is none does no harm."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("nonsense\n" + "".join(f'"{number}"\n' for number in range(2_500)) + "17\n")
        self.assertEqual(self.strings()[-1], "2499")
        self.assertEqual(len(self.path.read_bytes().splitlines()), 1_000)

    def test_in_use(self) -> None:
        """Where the file cannot be replaced, because another client has it open, no other is left behind."""

        def in_use(*paths: object) -> None:
            raise PermissionError("another client has it open")

        self.path.parent.mkdir(parents=True)
        self.path.write_text("".join(f'"{number}"\n' for number in range(2_500)))
        self.patch(os, "replace", in_use)
        self.assertEqual(len(self.strings()), 1_000)
        self.assertEqual(os.listdir(self.path.parent), [self.path.name])

    def test_no_disk(self) -> None:
        """Without a disk the history lasts as long as the program."""
        self.path.parent.parent.mkdir(parents=True)
        self.path.parent.write_text("in the way")
        history = LineHistory(self.path)
        history.append_string("one")
        self.assertEqual(history.get_strings(), ["one"])
        self.assertEqual(self.strings(), [])


class CommandTests(LineTests):
    """The client's own commands, and the bell."""

    def test_search(self) -> None:
        """C{/search} asks the server, and shows what it found."""
        asked: list[Frame] = []

        def answer(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, Search):
                return False
            asked.append(frame)
            entry = Entry(
                id=1, sender="bob", recipient="alice", time=TIME, state="delivered", excerpt="a fox"
            )
            return session.say(Found(messages=[entry], more=False))

        self.server.answers.append(answer)
        self.alice()
        self.type("/search fox", "/history bob")
        self.assertEqual([frame.query for frame in asked if isinstance(frame, Search)], ["fox", "with:bob"])
        self.assertEqual(self.console.shown.count("| a fox"), 2)

    def test_list(self) -> None:
        """C{/list} asks for the newest first."""
        asked: list[List] = []

        def answer(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, List):
                return False
            asked.append(frame)
            return session.say(Listing(box=frame.box, messages=[], more=False))

        self.server.answers.append(answer)
        self.alice()
        self.type("/list", "/list sent", "/list <17", "/list sent 17", "/list of all")
        self.assertEqual(
            [(frame.box, frame.before) for frame in asked],
            [("inbox", 0), ("sent", 0), ("inbox", 17), ("sent", 17)],
        )
        self.assertIn("/list <N", "".join(self.console.shown))

    def test_help(self) -> None:
        """C{/help} tells of the client's own commands, too, but not in the middle of a letter."""
        self.alice()
        self.type("/help")
        text = "\n".join(self.console.shown)
        for name in ("/list", "/outbox", "/search", "/quit"):
            self.assertIn(f"  {name}", text)
        self.type("/write bob", "", "/list", ".")
        self.assertEqual(self.server.ledger[1].message.body, "/list")

    def test_bell(self) -> None:
        """The bell rings for messages, if somebody wants it, and once for those that come together."""
        now = [100.0]
        message = Message(id=1, sender="bob", recipient="alice", time=TIME, body="x")
        for bell, rung in ((False, [0, 0, 0]), (True, [1, 1, 2])):
            teller = WordTeller(self.console, Wording(lambda: NOW), bell, lambda: now[0])
            for seconds, times in zip((0.0, 0.5, 1.0), rung):
                now[0] += seconds
                teller.message(message)
                self.assertEqual(self.console.rung, times)

    def test_midnight(self) -> None:
        """Before the first line of another day its date is told; times without a date mean that day."""
        now = [NOW]
        teller = WordTeller(self.console, Wording(lambda: now[0]))
        teller.note("one")
        now[0] += 86_400
        teller.note("two", "three")
        one, date, *others = self.console.shown
        self.assertEqual([one, *others], ["one", "two", "three"])
        self.assertRegex(date, r"^It is 2026-11-2\d now\.$")

    def test_delivered_later(self) -> None:
        """What was sent by an earlier run, and is delivered now, is told, too."""
        self.alice()
        self.type("/to bob hello", "/quit")
        self.alice()
        self.bob()
        self.assertEqual(self.console.shown, [f"#1: delivered {WHEN}"])

    def test_completion(self) -> None:
        """Names are offered as soon as somebody has written or is written to."""
        self.alice()
        self.server.accounts["carol"] = "x"
        self.server.deliver(self.server.accept("carol", Message(recipient="alice", body="hi")))
        self.type("/to bob hello")
        offered = self.console.offered
        assert offered
        self.assertEqual(offered("/to ")[0], ["bob", "carol"])


class CommandsTests(SynchronousTestCase):
    """The commands, apart from a conversation."""

    def test_unsent(self) -> None:
        """C{/outbox} says what it is told."""
        (step,) = ClientCommands("alice", lambda: ["one thing"]).typed("/outbox")
        self.assertIn("one thing", repr(step))


@skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
class TerminalTests(SynchronousTestCase):
    """The real program on real terminals that are not the best."""

    def setUp(self) -> None:
        """A server."""
        self.daemon = shared_daemon()

    def person(self, *arguments: str, **more: Any) -> tuple[Any, io.StringIO]:
        """Somebody at a terminal, and what is on it."""
        spawned = self.daemon.terminal(self.daemon.addresses["json"], "-u", "alice", *arguments, **more)
        self.addCleanup(put_away, spawned)
        spawned.logfile_read = screen = io.StringIO()
        return spawned, screen

    def leave(self, person: Any) -> None:
        """Say goodbye."""
        person.send("/quit\r")
        person.expect(pexpect.EOF)
        self.assertEqual(left(person), 0)

    def test_narrow(self) -> None:
        """On 40 columns: log in to stay, complete names, find a line again, log out."""
        person, screen = self.person("--stay", "--profile", "default", columns=40)
        person.expect("Password:")
        person.send("password of alice\r")
        person.expect("Welcome, alice")
        person.send("/to bob a line that is longer than forty columns\r")
        person.expect(r"#\d+ to bob: waiting")
        person.send("/hist\tb\t\r")
        person.expect(r"\| a line that is longer than forty\r\n\| columns\r\n")
        os.write(person.child_fd, b"/search \xff\r")
        person.expect("That line was not UTF-8")
        self.leave(person)
        self.assertNotIn("password of alice", screen.getvalue())

        person, screen = self.person("--profile", "default", columns=40)
        person.expect("Welcome, alice")  # nothing was asked
        person.expect_exact("\x1b[?25h")
        person.send("\x1b[A\x1b[A")
        person.expect("/history bob")
        person.sendcontrol("c")
        person.send("/logout\r")
        person.expect("You are logged out")
        person.expect("Username:")
        person.sendcontrol("d")
        person.expect(pexpect.EOF)
        folder = Path(self.daemon.environment["XDG_STATE_HOME"], "chat", "profiles", "default")
        for name in ("history", "state.db"):
            self.assertNotIn(b"password of", (folder / name).read_bytes())

    def test_dumb(self) -> None:
        """On a terminal that can do nothing, and where nobody speaks UTF-8, there are only lines."""
        send = ("send", "alice", "--server", self.daemon.addresses["json"], *self.daemon.user("bob"))
        self.assertEqual(self.daemon.chat(*send, typed="grüße".encode()).returncode, 0)
        person, screen = self.person(
            "--password-file",
            str(self.daemon.directory / "alice"),
            TERM="dumb",
            LC_ALL="C",
            PYTHONUTF8="",
        )
        person.expect(r"\| gr\\xfc\\xdfe\r\n")
        self.leave(person)
        self.assertNotIn("\x1b", screen.getvalue())
        self.assertTrue(screen.getvalue().isascii())
