"""The help of the programs, and the manual pages that are made of it."""

from __future__ import annotations

import importlib.util
import io
import re
import shlex
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from shutil import which
from types import ModuleType
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from chat.client.commands import from_program
from chat.client.main import main
from chat.client.options import COMMANDS
from chat.client.programs import join, outbox, profile, recover, send, talk, trust
from chat.tap import Options

ROOT = Path(__file__).resolve().parent.parent
MANUAL = ROOT / "docs" / "man"
PARSERS = {
    "chat": talk.parser,
    "send": send.parser,
    "join": join.parser,
    "recover": recover.parser,
    "trust": trust.parser,
    "profile": profile.parser,
    "outbox": outbox.parser,
}


def maker() -> ModuleType:
    """The program that makes the pages."""
    spec = importlib.util.spec_from_file_location("make_manual", MANUAL / "make.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def helped(*command: str) -> str:
    """What a program says with --help."""
    out = io.StringIO()
    with redirect_stdout(out):
        try:
            main([*command, "--help"])
        except SystemExit as done:
            assert done.code == 0, command
    return out.getvalue()


class HelpTests(SynchronousTestCase):
    """C{--help}."""

    def setUp(self) -> None:
        """A terminal of 80 columns, and nothing of this machine's settings."""
        import os

        self.patch(os, "environ", {"COLUMNS": "80", "HOME": "/nowhere", "PATH": os.environ.get("PATH", "")})

    def test_all(self) -> None:
        """Each command has a help that fits 80 columns, with examples."""
        self.assertEqual(set(PARSERS), {"chat", *COMMANDS})
        for name in PARSERS:
            text = helped(*([] if name == "chat" else [name]))
            self.assertEqual([line for line in text.splitlines() if len(line) > 79], [], name)
            self.assertRegex(text, "(?m)^examples?:$")

    def test_examples(self) -> None:
        """What the examples say is what the programs take."""
        seen = 0
        for name, parser in PARSERS.items():
            block = re.search(r"(?m)^examples?:\n((?:  .*\n)+)", parser().epilog or "")
            assert block, name
            for line in block[1].splitlines():
                words = shlex.split(re.split(r" [<>]|\| (?=\w+$)", line.split("| chat ")[-1].strip())[0])
                words = [word for word in words if word != "chat"]
                command = words[0] if words[:1] and words[0] in PARSERS else "chat"
                arguments = words[1:] if command != "chat" else words
                complaint = io.StringIO()
                with redirect_stderr(complaint):
                    try:
                        PARSERS[command]().parse_args(arguments)
                    except SystemExit:
                        self.fail(f"{line}: {complaint.getvalue()}")
                seen += 1
        self.assertGreater(seen, 15)

    def test_requests(self) -> None:
        """The requests in JSON that the help shows are requests."""
        block = re.search(r"(?m)^requests:\n((?:  .*\n)+)", talk.parser().epilog or "")
        assert block
        requests = [from_program(line.strip()) for line in block[1].splitlines()]
        self.assertEqual(len(requests), 3)


class ManualTests(SynchronousTestCase):
    """The manual pages."""

    def test_up_to_date(self) -> None:
        """Each page says what the program's help says now; otherwise: python docs/man/make.py"""
        for name, text in maker().pages().items():
            self.assertEqual(text, (MANUAL / name).read_text("utf-8"), f"run docs/man/make.py for {name}")

    def test_complete(self) -> None:
        """Every option of every command is in the page."""
        page = (MANUAL / "chat.1").read_text("utf-8").replace("\\-", "-")
        for name, parser in PARSERS.items():
            for action in parser()._actions:
                for option in action.option_strings:
                    self.assertIn(option, page, name)

    def test_daemon(self) -> None:
        """Every option of the daemon is in its page, and it takes what the examples there say."""
        page = (MANUAL / "twistd-chat.1").read_text("utf-8").replace("\\-", "-")
        for option in Options().longOpt:
            if option.rstrip("=") != "version":
                self.assertRegex(page, rf"(?m)^\.B .*--{option.rstrip('=')}( [A-Z]+)?$")
        examples = re.findall(r"(?m)^twistd (?:-n )?chat(.*?)(?: #.*)?$", page)
        self.assertGreater(len(examples), 3)
        for example in examples:
            Options().parseOptions(shlex.split(example))

    @skipUnless(which("man"), "There is no man on this system.")
    def test_rendered(self) -> None:
        """The pages are shown without a warning."""
        for path in sorted(MANUAL.glob("*.1")):
            done = subprocess.run(
                ["man", "--warnings", "-l", str(path)],
                capture_output=True,
                env={"PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
                timeout=60,
            )
            self.assertEqual((done.returncode, done.stderr), (0, b""), path)
            self.assertIn(b"EXIT STATUS", re.sub(rb".\x08", b"", done.stdout))


class MakerTests(SynchronousTestCase):
    """What makes the pages."""

    def test_escaped(self) -> None:
        """No text is taken for a command of roff."""
        escaped = maker().escaped
        self.assertEqual(escaped(".B nothing"), "\\&.B nothing")
        self.assertEqual(escaped("'"), "\\&'")
        self.assertEqual(escaped("--a\\n"), "\\-\\-a\\en")

    def test_versions(self) -> None:
        """What some versions of Python add to a switch is left out."""
        import argparse

        parser = argparse.ArgumentParser()
        parser.add_argument("--bell", action=argparse.BooleanOptionalAction, default=True, help="ring")
        parser._actions[-1].help = "ring (default: %(default)s)"
        self.assertIn("ring", list(maker().options(parser)))
