"""docs/http.rst shows what curl really is answered, and leaves nothing out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple

from docutils import nodes
from docutils.core import publish_doctree
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chat.errors import Code
from chat.web.api import OPERATIONS
from chat.web.api.openapi import describing
from chat.web.api.problem import STATUS
from tests.daemon import PATIENCE, ROOT, Daemon

PAGE = ROOT / "docs" / "http.rst"
SERVER = "http://localhost:5380"
PASSWORDS = {"alice": "correct-horse", "bob": "battery-staple"}
#: What is another at each run: moments, and tokens.
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{12}Z")
_TOKEN = re.compile(r"alice\.[A-Za-z0-9_-]{43}")


class Example(NamedTuple):
    """A command, and what it prints."""

    command: str
    output: str


@cache
def page() -> Any:
    """The document as a tree."""
    settings = {"report_level": 5, "file_insertion_enabled": False, "syntax_highlight": "none"}
    return publish_doctree(PAGE.read_text("utf-8"), str(PAGE), settings_overrides=settings)


def examples() -> list[Example]:
    """Every command on the page, in order."""
    found = []
    for block in page().findall(nodes.literal_block):
        for part in re.split(r"^\$ ", block.astext(), flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Example(command, output.strip()))
    return found


def same(output: str) -> str:
    """An output without what is another each time."""
    return _TOKEN.sub("alice.TOKEN", _TIME.sub("TIME", output)).strip()


class CurlTests(SynchronousTestCase):
    """The commands, with the real curl and the real server."""

    def test_examples(self) -> None:
        """Each command prints what stands below it."""
        curl = shutil.which("curl")
        if curl is None:
            raise SkipTest("curl is not installed here")
        version = subprocess.run((curl, "--version"), capture_output=True, text=True).stdout.split()[1]
        if tuple(map(int, version.split(".")[:2])) < (7, 82):
            raise SkipTest("this curl is too old for --json")
        daemon = Daemon(self)
        daemon.start(
            *("--json", "tcp:0:interface=127.0.0.1", "--web", "tcp:0:interface=127.0.0.1"),
            *("--bcrypt-rounds", "4"),
        )
        for name, password in PASSWORDS.items():
            person = daemon.call("json")
            person.say_login(name, password)
            person.expect("new-password", "created", "username")
            person.hang_up()
        (address,) = [address for kind, address in daemon.doors if kind == "web"]
        environment = {**os.environ, "TOKEN": "", "no_proxy": "*"}
        for example in examples():
            command = example.command.replace("curl ", "curl -sS ", 1).replace(SERVER, f"http://{address}")
            ran = subprocess.run(
                ("bash", "-c", command),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                env=environment,
            )
            self.assertEqual((same(ran.stdout), ran.stderr), (same(example.output), ""), example.command)
            for token in _TOKEN.findall(ran.stdout):
                environment["TOKEN"] = token
        self.assertGreater(len(examples()), 10)


class CompletenessTests(SynchronousTestCase):
    """The page, against the code."""

    def test_operations(self) -> None:
        """Every address is on the page, and every parameter and header."""
        text = PAGE.read_text("utf-8")
        for operation in (*OPERATIONS, describing(OPERATIONS)):
            self.assertIn(re.sub("{([a-z]+)}", lambda name: name[1].upper(), operation.path), text)
            for parameter in (*operation.query, *operation.headers):
                self.assertRegex(text, rf"[`?&]{parameter.name}[`=:]", operation.path)

    def test_codes(self) -> None:
        """Every code that the core or the web door refuses a request with stands beside its status."""
        (table,) = [table for table in page().findall(nodes.table) if table.parent[0].astext() == "Errors"]
        listed: dict[str, str] = {}
        for row in table.findall(nodes.row):
            status, codes = (entry.astext() for entry in row)
            listed |= dict.fromkeys(re.findall("[a-z]+(?:-[a-z]+)+|recalled|expired|blocked", codes), status)
        for source in (ROOT / "chat" / "web").rglob("*.py"):
            for name, of_web in re.findall(
                r'HTTPStatus\.([A-Z_]+), "([a-z]+-[a-z-]+)"', source.read_text("utf-8")
            ):
                self.assertEqual(listed.get(of_web), str(HTTPStatus[name].value), of_web)
        for code, status in STATUS.items():
            self.assertEqual(listed.get(code.value), str(status.value), code)
        for code in (
            Code.UNKNOWN_RECIPIENT,
            Code.ACCOUNT_DELETED,
            Code.EXPIRED,
            Code.MAILBOX_FULL,
            Code.BLOCKED,
        ):
            self.assertEqual(listed.get(code.value), str(HTTPStatus.CONFLICT.value), code)
