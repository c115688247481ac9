"""Tests for the terminal client: the program, with a real server."""

from __future__ import annotations

import io
import os
import queue
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable
from unittest import skipUnless

import pexpect
from twisted.trial.unittest import SynchronousTestCase

from chat.client import places
from chat.client.console import EndOfInput, OutputGone, PlainConsole
from chat.client.echo import Echo
from tests.daemon import PATIENCE
from tests.line_case import TERMINALS, run_main, shared_daemon
from tests.terminals import left, put_away

#: In the form of an invitation's; good for nothing.
CODE = "0000-" * 6 + "0000"


class DirectReactor:
    """Hands what a thread says to the test."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[Callable[..., object], tuple[object, ...]]] = queue.Queue()

    def callFromThread(self, call: Callable[..., object], *what: object) -> None:
        """See L{twisted.internet.interfaces.IReactorFromThreads.callFromThread}."""
        self.calls.put((call, what))

    def run_one(self) -> None:
        """Do the next call, once there is one."""
        call, what = self.calls.get(timeout=PATIENCE)
        call(*what)


class PlainConsoleTests(SynchronousTestCase):
    """Lines from a pipe."""

    def setUp(self) -> None:
        """A console whose lines come from a pipe."""
        self.reactor = DirectReactor()
        source, self.typed = os.pipe()
        self.out = io.StringIO()
        self.console = PlainConsole(self.reactor, source, self.out)
        self.addCleanup(os.close, source)
        self.addCleanup(self.console.close)

    def test_lines(self) -> None:
        """Lines come one by one, with any line end, the last one without."""
        os.write(self.typed, "one\r\nzwölf\nthr".encode())
        first = self.console.ask()
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(first), "one")
        self.assertEqual(self.successResultOf(self.console.ask()), "zwölf")
        last = self.console.ask()
        os.write(self.typed, b"ee")
        os.close(self.typed)
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(last), "three")
        for _ in range(2):
            end = self.console.ask()
            self.reactor.run_one()
            self.failureResultOf(end, EndOfInput)

    def test_no_text(self) -> None:
        """A line that is not UTF-8 is told apart, and the next one is read."""
        os.write(self.typed, b"\xff\xfe\nfine\n")
        first = self.console.ask()
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(first), None)
        self.assertEqual(self.successResultOf(self.console.ask()), "fine")
        os.close(self.typed)

    def test_cancelled(self) -> None:
        """A line typed to a question that was cancelled answers the next one."""
        cancelled = self.console.ask()
        cancelled.cancel()
        self.failureResultOf(cancelled)
        os.write(self.typed, b"hello\n")
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(self.console.ask()), "hello")
        os.close(self.typed)

    def test_prompts(self) -> None:
        """A script is shown no prompts, only lines."""
        self.console.ask("Username: ")
        self.console.show("Connected.")
        self.assertEqual(self.out.getvalue(), "Connected.\n")
        os.close(self.typed)

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_hidden(self) -> None:
        """What is typed is not shown from the prompt on; it is again after the line, or without one."""
        import termios

        far, near = os.openpty()
        self.addCleanup(os.close, far)
        self.addCleanup(os.close, near)
        seen: list[tuple[str, bool]] = []

        def write(text: str) -> int:
            seen.append((text, bool(termios.tcgetattr(near)[3] & termios.ECHO)))
            return len(text)

        self.out.write = write  # type: ignore[method-assign]
        console = PlainConsole(self.reactor, near, self.out)
        secret = console.ask("Password: ", hidden=True)
        self.assertEqual(seen, [("Password: ", False)])
        os.write(far, b"secret\n")
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(secret), "secret")
        unwanted = console.ask("Password: ", hidden=True)
        unwanted.cancel()
        self.failureResultOf(unwanted)
        console.ask("Username: ")
        os.write(far, b"alice\n")
        self.reactor.run_one()
        off_and_on = [("Password: ", False), ("\n", True)]
        self.assertEqual(seen, [*off_and_on, *off_and_on, ("Username: ", True)])
        os.close(self.typed)

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_terminal_gone(self) -> None:
        """A terminal that is gone cannot be put back as it was, which is no reason for a traceback."""
        far, near = os.openpty()
        self.addCleanup(os.close, far)
        echo = Echo(near)
        echo.off()
        os.close(near)
        echo.restore()
        os.close(self.typed)

    def test_output_gone(self) -> None:
        """When nobody reads, that is said clearly."""

        def broken(text: str) -> int:
            raise BrokenPipeError("gone")

        self.out.write = broken  # type: ignore[method-assign]
        self.assertRaises(OutputGone, self.console.show, "hello")
        os.close(self.typed)


class CommandLineTests(SynchronousTestCase):
    """What the program takes on its command line."""

    run_main = staticmethod(run_main)

    def setUp(self) -> None:
        """Nothing of the settings of who runs the tests."""
        home = str(Path(self.mktemp()).absolute())
        names = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA")
        environ = {**os.environ, **dict.fromkeys(names, home)}
        for name in ("CHAT_PROFILE", "CHAT_PASSWORD_FILE"):
            environ.pop(name, None)
        self.patch(os, "environ", environ)

    def test_help(self) -> None:
        """The help says how to begin, and what each exit status means."""
        status, out, _ = self.run_main("--help")
        self.assertEqual(status, 0)
        for word in ("HOST:PORT", "unix:PATH", "--codec", "exit status", "chat send", "--plain", "--trust"):
            self.assertIn(word, out)
        status, out, _ = self.run_main("send", "--help")
        self.assertEqual(status, 0)
        for word in ("--wait", "--subject", "standard input", "5  the server could not be reached"):
            self.assertIn(word, out)

        for command, words in (
            ("join", ("LINE", "--user", "certificate")),
            ("recover", ("recovery", "--accept-new")),
            ("trust", ("--remove", "known_servers", "exit status", "eight words")),
        ):
            status, out, _ = self.run_main(command, "--help")
            self.assertEqual([word for word in words if word not in out], [])

    def test_usage(self) -> None:
        """Wrong usage is one line, a hint, and status 2."""
        for arguments, word in (
            (["somewhere"], "HOST:PORT"),
            (["--plain", "trust"], "comes first"),
            (["recover", "join"], "comes first"),
            (["a.example", "--trust", "abandon ability"], "words"),
            (["a.example", "--plaintext", "--trust", "SHA256:" + "00" * 32], "--plaintext"),
            (["unix:/tmp/x", "--trust", "SHA256:" + "00" * 32], "HOST:PORT"),
            (["join", "chat://a.example"], "Paste the whole"),
            (["join", f"chat://a.example:1/?code={CODE}&pin={'0' * 64}", "--plaintext"], "--plaintext"),
            (["recover", "--sign-up"], "--sign-up"),
            (["trust", "somewhere"], "HOST:PORT"),
            (["trust", "a.example:0"], "65535"),
            (["trust", "a.example", "abandon"], "words"),
            (["trust", "--remove"], "forgotten"),
            (["--codec", "der", "send"], "comes first"),
            (["127.0.0.1:99999"], "65535"),
            (["--codec", "xml"], "xml"),
            (["send"], "NAME"),
            (["send", "bob"], "--user"),
            (["send", "bob", "--user", "a", "--wait", "long"], "wait"),
            (["send", "bob", "--user", "a", "--server", "somewhere"], "HOST:PORT"),
            (["send", "bob", "--user", "a", "--password-file", "/nowhere"], "/nowhere"),
            (["--password-file", os.devnull, "--user", "a"], "empty"),
            (["--user", "al\udcff"], "UTF-8"),
            (["send", "bob", "--user", "al\udcff"], "UTF-8"),
        ):
            status, _, err = self.run_main(*arguments)
            self.assertEqual((status, err.count("\n")), (2, 2), err)
            self.assertIn(word, err)

    def test_password_needs_a_user(self) -> None:
        """A password file without a name is of no use, and that is said."""
        path = self.mktemp()
        Path(path).write_text("secret word\n")
        status, _, err = self.run_main("--password-file", path)
        self.assertEqual(status, 2)
        self.assertIn("--user", err)

    def test_password_file_of_the_environment(self) -> None:
        """CHAT_PASSWORD_FILE names the file, too, and does not disturb who types a password."""
        self.patch(os, "environ", {**os.environ, "CHAT_PASSWORD_FILE": "/nowhere/at/all"})
        status, _, err = self.run_main("send", "bob", "--user", "a")
        self.assertEqual(status, 2)
        self.assertIn("/nowhere/at/all", err)
        status, _, err = self.run_main("127.0.0.1:0")
        self.assertIn("port", err)

    def test_invitation_is_typed(self) -> None:
        """Without the line it is asked, so that it need not be an argument; but not of a script."""
        terminal = io.StringIO("chat://a.example\n")
        self.patch(sys, "stdin", terminal)
        status, _, err = self.run_main("join")
        self.assertEqual((status, "there is no terminal" in err), (2, True))
        self.patch(terminal, "isatty", lambda: True)
        status, out, err = self.run_main("join")
        self.assertEqual((status, out), (2, "Invitation: "))
        self.assertIn("Paste the whole line", err)
        status, _, err = self.run_main("join")  # the end of the input
        self.assertEqual(status, 2)

    def test_known_servers(self) -> None:
        """What is known is listed and forgotten; and while it is, there is no way without TLS."""
        config = Path(self.mktemp()).absolute()
        self.patch(os, "environ", {**os.environ, "XDG_CONFIG_HOME": str(config), "APPDATA": str(config)})
        status, out, _ = self.run_main("trust")
        self.assertEqual(status, 0)
        self.assertIn(str(config / "chat" / "known_servers"), out)
        (config / "chat").mkdir(parents=True)
        (config / "chat" / "known_servers").write_text("a.example:5311 authorities\n")
        self.assertEqual(self.run_main("trust")[1], "a.example:5311 authorities\n")
        for arguments in (
            ["a.example", "--plaintext"],
            ["send", "b", "--server", "a.example", "--plaintext"],
        ):
            status, _, err = self.run_main(*arguments, "--user", "a", "--password-file", __file__)
            self.assertEqual((status, "chat trust --remove a.example:5311" in err), (1, True), err)
        self.assertEqual(
            self.run_main("trust", "--remove", "A.example")[:2], (0, "a.example:5311 is forgotten.\n")
        )
        self.assertEqual(self.run_main("trust", "--remove", "a.example")[0], 1)
        (config / "chat" / "known_servers").write_text("nonsense\n")
        status, _, err = self.run_main("trust")
        self.assertEqual((status, "Line 1" in err), (1, True))

    def test_narrow_help(self) -> None:
        """On 40 columns the help says the same, and is broken at spaces."""
        for command in ("", "send", "outbox", "join", "recover", "profile", "trust"):
            texts = []
            for columns in ("100", "40"):
                self.patch(os, "environ", {**os.environ, "COLUMNS": columns})
                status, text, _ = self.run_main(*filter(None, (command, "--help")))
                self.assertEqual(status, 0)
                texts.append(text.partition("\n\n")[2])  # what is below the usage
            wide, narrow = texts
            self.assertEqual(narrow.split(), wide.split())
            broad = [line for line in narrow.split("\n") if len(line) > 40]
            self.assertEqual([line for line in broad if " " in line.strip()], [])

    def test_no_home(self) -> None:
        """Where nothing can be kept, what is of no use without an outbox says so."""

        def none(profile: str) -> Path:
            raise places.Homeless("XDG_STATE_HOME")

        self.patch(places, "state", none)
        for arguments in (("send", "bob", "--queue"), ("outbox",), ("outbox", "--send")):
            status, _, err = self.run_main(*arguments, *(("-u", "a") if len(arguments) > 1 else ()))
            self.assertEqual(status, 2)
            self.assertIn("set XDG_STATE_HOME", err)

    def test_no_password_option(self) -> None:
        """A password cannot be given as an argument."""
        status, _, _ = self.run_main("send", "bob", "--user", "a", "--password", "secret")
        self.assertEqual(status, 2)


class RealServerTests(SynchronousTestCase):
    """The program against the real server, over real sockets."""

    def setUp(self) -> None:
        """A server with two accounts."""
        self.daemon = shared_daemon()

    def send(self, *arguments: str, body: bytes = b"hello\n", codec: str = "json") -> tuple[int, str]:
        """C{chat send} as Alice: exit status and standard error."""
        done = self.daemon.chat(
            "send",
            *arguments,
            "--server",
            self.daemon.addresses[codec],
            "--codec",
            codec,
            *self.daemon.user("alice"),
            typed=body,
        )
        return done.returncode, done.stderr.decode()

    def test_send_and_fetch(self) -> None:
        """What one script sends, in either codec, another fetches: once."""
        fetch = [self.daemon.addresses["der"], "--codec", "der", *self.daemon.user("bob")]
        self.daemon.chat(*fetch)  # what others left
        bodies = ["first", "über", "two\nlines"]
        for body, codec in zip(bodies, ("json", "der", "json")):
            self.assertEqual(self.send("bob", body=body.encode() + b"\n", codec=codec), (0, ""))
        status, err = self.send("bob", "-s", "urgent", "--wait", "0.5")
        self.assertEqual(status, 3, err)
        done = self.daemon.chat(*fetch)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        bodies = [line for line in done.stdout.decode().splitlines() if line.startswith("| ")]
        self.assertEqual(bodies, ["| first", "| über", "| two", "| lines", "| hello"])
        self.assertIn("subject: urgent", done.stdout.decode())
        self.assertNotIn(b"\n| ", self.daemon.chat(*fetch).stdout)

    def test_delivered(self) -> None:
        """C{--wait} ends as soon as somebody has read it."""
        listener = subprocess.Popen(
            [
                sys.executable,
                *self.daemon.command(self.daemon.addresses["json"], *self.daemon.user("bob")),
            ],
            env=self.daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert listener.stdin is not None and listener.stdout is not None
        self.addCleanup(listener.stdout.close)
        self.addCleanup(listener.wait, PATIENCE)
        self.addCleanup(listener.stdin.close)
        self.assertEqual(self.send("bob", "--wait", "30"), (0, ""))

    def test_refusals(self) -> None:
        """Returned, refused and unreachable have their own statuses, and a reason."""
        status, err = self.send("nobody", "--wait", "30")
        self.assertEqual(status, 4)
        self.assertIn("unknown-recipient", err)
        status, err = self.send("bob", body=b"x" * 70_000)
        self.assertEqual(status, 1)
        self.assertIn("too-large", err)
        status, err = self.send("bob", body=b"a" + "é".encode() * 1_100_000)
        self.assertEqual(status, 1)
        self.assertIn("too-large", err)
        status, err = self.send("bob", body=b"\xff")
        self.assertEqual(status, 1)
        self.assertIn("UTF-8", err)
        done = self.daemon.chat(
            "send", "bob", "--server", "127.0.0.1:1", "--timeout", "0.5", *self.daemon.user("alice")
        )
        self.assertEqual(done.returncode, 5)
        done = self.daemon.chat("127.0.0.1:1", "--json")
        self.assertEqual(done.returncode, 5)
        self.assertTrue(done.stdout.startswith(b'{"event": "over", "reason": "The server cannot be'), done)
        self.assertIn(b"cannot be reached", done.stderr)

    def test_unix_socket(self) -> None:
        """C{unix:PATH} works like any address."""
        done = self.daemon.chat(self.daemon.socket, *self.daemon.user("alice"), typed=b"/ping\n")
        self.assertIn(b"The server is there.", done.stdout)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    @skipUnless(os.name == "posix", "Elsewhere a shell cannot close them.")
    def test_no_standard_streams(self) -> None:
        """Who starts it without an input, or without an output, is shown no traceback."""
        command = self.daemon.command(self.daemon.addresses["json"], *self.daemon.user("alice"))
        for redirection in ("<&-", ">&- </dev/null"):
            done = subprocess.run(
                ["sh", "-c", f'exec "$0" "$@" {redirection}', sys.executable, *command],
                capture_output=True,
                env=self.daemon.environment,
                timeout=PATIENCE,
            )
            self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_output_closed(self) -> None:
        """A reader that goes away ends the program without a traceback."""
        running = subprocess.Popen(
            [
                sys.executable,
                *self.daemon.command(self.daemon.addresses["json"], *self.daemon.user("alice")),
            ],
            env=self.daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert running.stdin and running.stdout and running.stderr
        running.stdout.readline()
        running.stdout.close()
        running.stdin.write(b"/help\n" * 3)
        running.stdin.flush()
        _, err = running.stderr, running.stderr.read()
        running.stdin.close()
        self.assertEqual(running.wait(PATIENCE), 1)
        running.stderr.close()
        self.assertEqual(err, b"")

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_terminal(self) -> None:
        """On a terminal: sign up, be written to while typing, write, delete the account, leave."""
        person = self.daemon.terminal(self.daemon.addresses["json"])
        self.addCleanup(put_away, person)
        for prompt, line in (
            ("Username:", "dave"),
            ("New password:", "secret word"),
            ("Again:", "secret word"),
        ):
            person.expect(prompt)
            person.send(line + "\r")
        person.expect("Welcome, dave")
        person.send("/to alice half a li")
        person.expect("half a li")
        self.assertEqual(self.send("dave", "--wait", "30", body=b"wake up \x1b[31m"), (0, ""))
        person.expect(r"from alice")
        person.expect(r"\| wake up \\x1b\[31m\r\n")
        person.expect("half a li")  # the line being typed is whole again
        person.send("ne\r")
        person.expect(r"#\d+ to alice: waiting")
        person.send("/delete-account\r")
        person.expect("Password:")
        person.send("secret word\r")
        person.expect("Your account is deleted")
        person.expect("Username:")
        person.sendcontrol("d")
        person.expect(pexpect.EOF)
        self.assertEqual((left(person), person.signalstatus), (0, None))

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_plain_terminal(self) -> None:
        """With C{--plain} nothing is redrawn, and the password is not shown."""
        person = self.daemon.terminal(self.daemon.addresses["json"], "--plain")
        self.addCleanup(put_away, person)
        person.logfile_read = screen = io.StringIO()
        for prompt, line in (("Username: ", "alice"), ("Password: ", "password of alice")):
            person.expect(prompt)
            person.send(line + "\n")
        person.expect("Welcome, alice")
        person.send("/quit\n")
        person.expect(pexpect.EOF)
        self.assertEqual(left(person), 0)
        self.assertNotIn("password of", screen.getvalue())
        self.assertNotIn("\x1b", screen.getvalue())

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_killed(self) -> None:
        """A client that is told to end while it reads a password leaves the terminal as it was."""
        import termios

        for more in ([], ["--plain"]):
            person = self.daemon.terminal(self.daemon.addresses["json"], "-u", "alice", *more)
            self.addCleanup(put_away, person)
            self.assertTrue(termios.tcgetattr(person.child_fd)[3] & termios.ECHO)
            person.expect("Password:")
            self.assertTrue(person.waitnoecho(PATIENCE))
            person.kill(signal.SIGTERM)
            person.expect(pexpect.EOF)
            modes = termios.tcgetattr(person.child_fd)[3]
            self.assertTrue(modes & termios.ECHO and modes & termios.ICANON, more)
            self.assertEqual(left(person), 130)

    def test_restart(self) -> None:
        """A client that stays keeps what is typed over a restart of the server, and sends it once."""
        running = subprocess.Popen(
            [
                sys.executable,
                *self.daemon.command(self.daemon.addresses["json"], *self.daemon.user("alice")),
            ],
            env=self.daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert running.stdin and running.stdout
        self.addCleanup(running.stdout.close)

        def read_until(word: str) -> None:
            assert running.stdout
            for line in running.stdout:
                if word in line:
                    return
            raise AssertionError(f"it did not say {word!r}")

        read_until("Welcome")
        self.daemon.stop()
        read_until("Trying again")
        running.stdin.write("/to bob over the restart\n")
        running.stdin.flush()
        read_until("no connection")
        self.daemon.start()
        read_until("Connected again")
        running.stdin.close()
        self.assertEqual(running.wait(PATIENCE), 0)
        done = self.daemon.chat(self.daemon.addresses["json"], *self.daemon.user("bob"))
        self.assertEqual(done.stdout.count(b"| over the restart"), 1)
