"""From a fresh clone to two people who talk, with a stopwatch.

    python -m tests.sixty_seconds

clones this checkout into a new folder, runs there what README.rst says first, word for word, and
then does what two people would do: both sign up in a browser and write to each other, and somebody
with the terminal client joins them.  It fails when that takes more than a minute.  What pip
downloads is fetched before, and its time is told apart, since it is the network's; what pip then does
with it, making the environment, building and installing, is in the minute.

Needs git, Chromium, playwright and pexpect, and the ports that a server listens on by itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pexpect

from tests.browser import Browser, Window

ROOT = Path(__file__).resolve().parent.parent
#: What stands between these in README.rst is what is run.
BEGIN, END = ".. the run command", ".. end of the run command"
#: The last line of a start, and of a stop.
STARTED, STOPPED = "registration is", "everything accepted is on disk"
#: Where the page is, if nobody says otherwise.
PAGE = "http://127.0.0.1:5380/"
#: How long it may take, in seconds.
LIMIT = 60.0
#: Where programs keep what is a user's, below a folder that is made for this.
FOLDERS = {
    "HOME": ".",
    "XDG_CONFIG_HOME": ".config",
    "XDG_STATE_HOME": ".local/state",
    "XDG_DATA_HOME": ".local/share",
    "XDG_CACHE_HOME": ".cache",
}
#: How long any step may take before it is given up.
PATIENCE = 300.0

T = TypeVar("T")


class Stopwatch:
    """Tells how long each step took.

    @ivar counted: the seconds of those that count.
    """

    def __init__(self, say: Callable[[str], object] = print) -> None:
        self.counted = 0.0
        self._say = say

    @contextmanager
    def step(self, what: str, counts: bool = True) -> Iterator[None]:
        """Do this."""
        begun = time.monotonic()
        yield
        seconds = time.monotonic() - begun
        if counts:
            self.counted += seconds
        self._say(f"{seconds:7.1f} s  {what}{'' if counts else ' (not counted)'}")


class Stage:
    """In place of a test: what is begun ends with it.

    As much of one as L{Browser} needs.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def addCleanup(self, function: Callable[..., object], *arguments: object) -> None:
        """Do this in the end."""
        self._stack.callback(function, *arguments)

    def assertEqual(self, found: object, expected: object) -> None:
        """Or it is an error."""
        if found != expected:
            raise AssertionError(f"{found!r} is not {expected!r}")


def run_command(readme: str) -> str:
    """What the README has one run in a fresh clone."""
    lines = readme.partition(BEGIN)[2].partition(END)[0].splitlines()
    (command,) = [line.strip() for line in lines if line.startswith("    ")]
    return command


def clone(folder: Path, changes: bool) -> None:
    """A fresh clone, in this folder.

    @param changes: with what is not committed yet.
    """
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    if changes:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        for name in listed.stdout.decode().split("\0")[:-1]:
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)


def download(folder: Path, cache: Path, scratch: Path) -> None:
    """Let pip have in its cache what it will need."""
    environment = bare(cache)
    commands = [
        ["python3", "-m", "venv", str(scratch / "venv")],
        [str(scratch / "venv/bin/pip"), "wheel", "-q", "-w", str(scratch / "wheels"), str(folder)],
    ]
    for command in commands:
        done = subprocess.run(command, env=environment, cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    for left in ("build", "txchat.egg-info"):
        shutil.rmtree(folder / left, ignore_errors=True)


def bare(cache: Path) -> dict[str, str]:
    """The environment of somebody who has nothing set up, with folders of its own beside the cache.

    What this machine's pip is told in its files is kept, by their names: without it there may be no network.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    home = cache.parent / "home"
    for name, below in FOLDERS.items():
        (home / below).mkdir(parents=True, exist_ok=True)
        kept[name] = str(home / below)
    for config in ("~/.config/pip/pip.conf", "~/.pip/pip.conf"):
        if Path(config).expanduser().is_file():
            kept["PIP_CONFIG_FILE"] = str(Path(config).expanduser())
    settings = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP"))
    }
    settings.pop("PIP_NO_CACHE_DIR", None)
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return {**kept, **settings, **proxies, "PIP_CACHE_DIR": str(cache), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


class Server:
    """What the README's line has started."""

    def __init__(self, command: str, folder: Path, cache: Path) -> None:
        self.said: list[str] = []
        self._heard = threading.Condition()
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env=bare(cache),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._heard:
                self.said.append(line.rstrip())
                self._heard.notify_all()
        with self._heard:
            self.said.append("(it has ended)")
            self._heard.notify_all()

    def until(self, words: str) -> None:
        """Wait until it says this."""

        def over() -> bool:
            return any(words in line for line in self.said) or self.said[-1:] == ["(it has ended)"]

        with self._heard:
            self._heard.wait_for(over, PATIENCE)
            if not any(words in line for line in self.said):
                raise AssertionError(f"it never said {words!r}:\n" + "\n".join(self.said[-30:]))

    def stop(self) -> None:
        """Ctrl-C, as in its terminal."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise


def two_people(alice: Window, bob: Window, watch: Stopwatch) -> None:
    """Both sign up and write to each other."""
    with watch.step("alice signs up in a browser"):
        alice.sign_up("alice")
    with watch.step("bob signs up in another one"):
        bob.sign_up("bob")
    with watch.step("alice writes to bob, who sees it"):
        alice.write_to("bob")
        alice.say("Are you there?")
        bob.open("alice")
        bob.see("#messages .message", "Are you there?")
    with watch.step("bob answers, and alice sees it"):
        bob.say("I am. That was quick.")
        alice.see("#messages .message", "That was quick.")


def and_a_third(folder: Path, alice: Window, watch: Stopwatch) -> None:
    """Somebody joins them in a terminal."""
    with watch.step("carol signs up in a terminal"):
        program = str(folder / ".venv/bin/chat")
        terminal = {**bare(folder.parent / "cache"), "TERM": "xterm-256color"}
        carol: Any = pexpect.spawn(
            program, encoding="utf-8", timeout=60, cwd=str(folder), dimensions=(24, 80), env=terminal
        )
        carol.expect("Username:")
        carol.sendline("carol")
        for prompt in ("New password:", "Again:"):
            carol.expect(prompt)
            carol.sendline("a secret of carol")
        carol.expect("Welcome, carol")
    with watch.step("she writes to alice, who sees it in the browser"):
        carol.sendline("/to alice Me too!")
        alice.open("carol")
        alice.see("#messages .message", "Me too!")
    with watch.step("alice answers from the browser, and carol sees it"):
        alice.say("Welcome, carol.")
        carol.expect("Welcome, carol\\.")
    carol.sendline("/quit")
    carol.expect(pexpect.EOF)


def main() -> None:
    """Do all of it.

    @raise SystemExit: it took too long.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--changes", action="store_true", help="with what is not committed yet")
    options = parser.parse_args()
    watch = Stopwatch(lambda line: print(line, flush=True))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sixty-seconds-")))
        folder, cache = scratch / "clone", scratch / "cache"
        with watch.step("git clone"):
            clone(folder, options.changes)
        command = run_command((folder / "README.rst").read_text("utf-8"))
        begun = time.monotonic()
        with watch.step("what pip downloads", counts=False):
            download(folder, cache, scratch)
        downloaded = time.monotonic() - begun
        browser = Browser.shared()
        stage: Any = Stage(stack)
        print(f"           $ {command}", flush=True)
        with watch.step("until the server listens"):
            server = Server(command, folder, cache)
            stack.callback(server.stop)
            server.until(STARTED)
        with watch.step("both open the page"):
            alice, bob = (browser.window(stage, PAGE) for _ in range(2))
        two_people(alice, bob, watch)
        talking = watch.counted
        and_a_third(folder, alice, watch)
        server.stop()
        server.until(STOPPED)
    print(f"{talking:7.1f} s  from a fresh clone to two people who talk; {LIMIT:g} are allowed")
    print(f"{talking + downloaded:7.1f} s  the same with what pip downloads and builds before")
    print(f"{watch.counted:7.1f} s  with a third one in a terminal")
    print(f"{os.getloadavg()[0]:7.1f}    load of the machine, on {os.cpu_count()} cores")
    if watch.counted > LIMIT:
        sys.exit("It took too long.")


if __name__ == "__main__":
    main()
