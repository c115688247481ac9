"""The package as it is shipped: built, installed and started, without the checkout's help.

The environments made here hold what the package declares that it requires and
nothing else; they are made of links to what is installed where the tests run,
so that no index is asked.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, PathDistribution, distribution
from pathlib import Path
from typing import IO

from packaging.requirements import Requirement
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
#: What a build reads.
SOURCES = (
    "CHANGELOG.rst",
    "LICENSE",
    "MANIFEST.in",
    "README.rst",
    "chat",
    "docs/man",
    "pyproject.toml",
    "setup.cfg",
    "twisted",
)
#: Far more than anything here takes, so that a test fails rather than hangs.
PATIENCE = 120.0

_SCRIPT = """\
#!{python}
import sys
from {module} import {name}
sys.exit({attribute}())
"""


def run(*command: str | Path, cwd: Path | None = None, typed: str = "") -> str:
    """What a command prints; the test fails, with that, when the command does."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd or workplace(),
        env=environment(),
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise AssertionError(f"exit status {done.returncode}: {command}\n{done.stdout}")
    return done.stdout


def environment() -> dict[str, str]:
    """The surroundings of a user who has nothing of the checkout on any path."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    places = {f"XDG_{kind}_HOME": str(workplace() / kind.lower()) for kind in ("CONFIG", "STATE")}
    return {**kept, **places, "PYTHONDONTWRITEBYTECODE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@lru_cache
def workplace() -> Path:
    """A folder of its own for all that is built here, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="chat-packaging-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def sources(name: str) -> Path:
    """A copy of what a build reads, so that the checkout stays as it is."""
    copy = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=workplace()))
    for source in SOURCES:
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(path, copy / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, copy / source)
    return copy


@lru_cache
def wheel() -> Path:
    """The wheel, built once."""
    copy = sources("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", cwd=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


class Environment:
    """A virtual environment that starts empty."""

    def __init__(self, name: str) -> None:
        self.root = workplace() / name
        run(sys.executable, "-m", "venv", "--without-pip", self.root)
        self.bin = self.root / "bin"
        self.python = self.bin / "python"
        (self.site,) = self.root.glob("lib/python*/site-packages")
        self._present: set[str] = set()

    def add(self, name: str, extras: frozenset[str] = frozenset()) -> None:
        """Link an installed distribution, and what it requires, into this environment."""
        key = f"{name.lower()}[{','.join(sorted(extras))}]"
        if key in self._present:
            return
        self._present.add(key)
        found = distribution(name)
        self._link(found)
        self.require(found, extras)

    def require(self, found: Distribution, extras: frozenset[str] = frozenset()) -> None:
        """Link what a distribution requires."""
        for text in found.requires or ():
            required = Requirement(text)
            if required.marker is None or any(
                required.marker.evaluate({"extra": extra}) for extra in {"", *extras}
            ):
                self.add(required.name, frozenset(required.extras))

    def _link(self, found: Distribution) -> None:
        for file in found.files or ():
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            link = self.site / file
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(Path(str(found.locate_file(file))).resolve())
        for entry in found.entry_points:
            if entry.group == "console_scripts":
                self._script(entry)

    def _script(self, entry: EntryPoint) -> None:
        script = self.bin / entry.name
        script.write_text(
            _SCRIPT.format(
                python=self.python,
                module=entry.module,
                name=entry.attr.partition(".")[0],
                attribute=entry.attr,
            )
        )
        script.chmod(0o755)

    def pip(self, *words: str | Path) -> None:
        """Let the tests' pip work on this environment, without an index."""
        pip = (sys.executable, "-m", "pip", "--quiet", "--python", self.python)
        run(*pip, "install", "--no-index", "--no-deps", *words)


@lru_cache
def installed() -> Environment:
    """An environment with the wheel and what it requires."""
    made = Environment("installed")
    made.pip(wheel())
    (metadata,) = made.site.glob("txchat-*.dist-info")
    made.require(PathDistribution(metadata))
    return made


@contextmanager
def server(*command: str | Path, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A running server and its log; it is killed at the end if it still runs."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    watch = threading.Timer(PATIENCE, process.kill)
    watch.start()
    try:
        yield process, process.stdout
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


class Conversation:
    """The JSON door, by hand."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=PATIENCE)
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def say(self, kind: str, **data: object) -> None:
        """Send one frame."""
        self._socket.sendall(json.dumps({"type": kind, "data": data}).encode() + b"\n")

    def hear(self) -> dict[str, object]:
        """The data of the next frame."""
        line = self._lines.readline()
        if not line:
            raise AssertionError("the server hung up")
        data = json.loads(line)["data"]
        assert isinstance(data, dict)
        return data

    def log_in(self, name: str, password: str) -> None:
        """Log in, signing up first when the server has never heard of the name."""
        while (heard := self.hear())["keyword"] != "welcome":
            if heard["keyword"] == "username":
                self.say("login", field="username", value=name)
            elif heard["keyword"] in ("password", "new-password"):
                self.say("login", field="password", value=password)
            elif heard["keyword"] in ("failed", "fatal"):
                raise AssertionError(heard)


class ConversationTests(SynchronousTestCase):
    """Shared by the ways of installing: the server is started, used, and stopped."""

    def converse(
        self,
        cwd: Path,
        *command: str | Path,
        then: Callable[[str, Conversation], None] = lambda address, bob: None,
    ) -> None:
        """Two people write to each other by way of a server started so; it stops when asked.

        @param then: is done while the server runs, with its address and bob's connection.
        """
        options = ("--data", cwd / "mail", "--json", "tcp:0:interface=127.0.0.1")
        with server(*command, *options, "--bcrypt-rounds", "4", cwd=cwd) as (process, log):
            host, port = self.address(log)
            alice, bob = Conversation(host, port), Conversation(host, port)
            self.addCleanup(alice.close)
            self.addCleanup(bob.close)  # closing twice is harmless
            alice.log_in("alice", "correct horse")
            bob.log_in("bob", "battery staple")
            alice.say("message", recipient="bob", body="Are you there?", ref="1")
            accepted, letter = alice.hear(), bob.hear()
            self.assertEqual((accepted["keyword"], accepted["ref"]), ("accepted", "1"))
            self.assertEqual((letter["sender"], letter["body"]), ("alice", "Are you there?"))
            self.assertEqual(letter["id"], accepted["id"])
            then(f"{host}:{port}", bob)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(bob.hear()["code"], "shutting-down")
            alice.close()
            bob.close()
            rest = log.read()
            # Twisted's runners end by the signal that stopped them, once all is in order.
            self.assertEqual(process.wait(PATIENCE), -signal.SIGTERM, rest)
            self.assertIn("everything accepted is on disk", rest)
            self.assertNotIn("Traceback", rest)

    def address(self, log: IO[str]) -> tuple[str, int]:
        """Where the JSON door listens, as the log says."""
        seen = []
        for line in log:
            seen.append(line)
            if "json" in line.lower() and (where := re.search(r"(127\.0\.0\.1):([1-9]\d*)", line)):
                return where[1], int(where[2])
        raise AssertionError("no address in the log:\n" + "".join(seen))


class WheelTests(ConversationTests):
    """The wheel has all that the package needs, and installs into an empty environment."""

    def test_contents(self) -> None:
        """The package, its SQL and its ASN.1, the plugin and the licence; no tests."""
        with zipfile.ZipFile(wheel()) as archive:
            names = archive.namelist()
        expected = {
            str(path.relative_to(ROOT))
            for folder in ("chat", "twisted")
            for path in (ROOT / folder).rglob("*")
            if path.suffix in {".py", ".sql", ".asn1", ".txt", ".typed", ".html", ".css", ".js", ".svg"}
        }
        for name in ("chat/py.typed", "chat/wire/chat.asn1", "twisted/plugins/chat_plugin.py"):
            self.assertIn(name, expected)
        self.assertTrue(any(name.endswith(".sql") for name in expected))
        outside = {name for name in names if ".data/" in name}
        self.assertEqual({name for name in names if ".dist-info/" not in name} - outside, expected)
        pages = {path.name for path in (ROOT / "docs" / "man").glob("*.1")}
        self.assertEqual({name.partition(".data/data/share/man/man1/")[2] for name in outside}, pages)
        self.assertTrue(any(name.endswith("licenses/LICENSE") for name in names))

    def test_help(self) -> None:
        """Each of the commands knows the service or itself, and explains it."""
        made = installed()
        for command in (("twistd",), ("twist",), ("python", "-m", "twisted")):
            told = run(made.bin / command[0], *command[1:], "chat", "--help")
            for option in ("--data", "--text", "--json", "--der", "--registration"):
                self.assertIn(option, told)
        for script in ("chat", "chatctl"):
            self.assertIn("usage:", run(made.bin / script, "--help").lower())

    def test_twistd(self) -> None:
        """C{twistd -n chat} from the wheel carries a conversation, and stops in order."""
        made = installed()
        folder = made.root / "twistd"
        folder.mkdir()
        self.converse(folder, made.bin / "twistd", "-n", "--pidfile=", "chat")

    def test_commands(self) -> None:
        """C{chat send} and C{chatctl audit} from the wheel work on a running server."""
        made = installed()
        folder = made.root / "commands"
        folder.mkdir()
        (folder / "password").write_text("correct horse\n")

        def use(address: str, bob: Conversation) -> None:
            who = ("--server", address, "--user", "alice", "--password-file", folder / "password")
            run(made.bin / "chat", "send", "bob", *who, typed="The backup is done.\n")
            letter = bob.hear()
            self.assertEqual((letter["sender"], letter["body"]), ("alice", "The backup is done."))
            run(made.bin / "chatctl", "audit", "--data", folder / "mail")

        self.converse(folder, made.bin / "twistd", "-n", "--pidfile=", "chat", then=use)

    def test_twist(self) -> None:
        """C{twist chat} from the wheel does the same."""
        made = installed()
        folder = made.root / "twist"
        folder.mkdir()
        self.converse(folder, made.bin / "twist", "chat")


class CheckoutTests(ConversationTests):
    """A checkout works where it lies, installed as editable or not at all."""

    def test_editable(self) -> None:
        """After C{pip install -e} the commands see the service, from any folder."""
        made = Environment("editable")
        made.add("setuptools")
        copy = sources("editable")
        made.pip("--no-build-isolation", "--editable", copy)
        (metadata,) = made.site.glob("txchat-*.dist-info")
        made.require(PathDistribution(metadata))
        self.assertIn("--data", run(made.bin / "twistd", "chat", "--help"))
        self.assertIn("--data", run(made.bin / "twist", "chat", "--help"))
        where = run(made.python, "-c", "import chat.service; print(chat.service.__file__)")
        self.assertEqual(Path(where.strip()), copy / "chat" / "service.py")

    def test_bare(self) -> None:
        """In a checkout that is not installed, C{python -m twisted chat} serves."""
        made = Environment("bare")
        made.require(PathDistribution(next(installed().site.glob("txchat-*.dist-info"))))
        copy = sources("bare")
        self.converse(copy, made.python, "-m", "twisted", "chat")
