"""The description of the HTTP interface, and whether the server keeps to it.

What schemathesis makes of the description is tried against a real server wherever that program is: it is
named by C{SCHEMATHESIS} in the environment, as .ci/run does, or installed beside this Python.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chat.web.api import OPERATIONS
from chat.web.api.openapi import describe, describing
from tests.api import ApiTestCase
from tests.daemon import PATIENCE, Daemon
from tests.talker import password

SETTINGS = Path(__file__).with_name("schemathesis.toml")


def references(part: Any) -> Iterator[str]:
    """What a part of a description refers to."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


class DescriptionTests(ApiTestCase):
    """C{GET /openapi.json}."""

    def description(self) -> Any:
        """What anybody is told."""
        self.alice.authorization = None
        return self.alice.get("/openapi.json")

    def test_operations(self) -> None:
        """Everything that can be asked for is described once, and itself, too."""
        described = [
            (method.upper(), path)
            for path, methods in self.description()["paths"].items()
            for method in methods
        ]
        every = (*OPERATIONS, describing(OPERATIONS))
        self.assertEqual(sorted(described), sorted((each.method, each.path) for each in every))
        names = [each.name for each in every]
        self.assertEqual(len(set(names)), len(names))

    def test_references(self) -> None:
        """Whatever is referred to is there, and nothing is there in vain."""
        description = self.description()
        schemas = {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}
        self.assertEqual(set(references(description)), schemas)

    def test_patterns(self) -> None:
        """What is described as a time to wait is what is taken as one."""
        (wait,) = [p for p in OPERATIONS[0].query if p.name == "wait"]
        pattern = re.compile(str(wait.schema["pattern"]))
        for text in ("0", "30s", "300", "5m", "0m", "301", "6m", "030s", "", "s", "1 s", "1s\n"):
            try:
                wait.read(text)
                taken = True
            except ValueError:
                taken = False
            # To JSON Schema, whose expressions are those of JavaScript, $ is the very end.
            self.assertEqual(bool(pattern.fullmatch(text)), taken, text)

    def test_below_a_path(self) -> None:
        """It holds below any path, behind a proxy, too."""
        self.assertEqual(self.description()["servers"], [{"url": "./"}])

    def test_required(self) -> None:
        """What must be there is said to be."""
        (q,) = [
            each
            for each in describe(OPERATIONS)["paths"]["/search"]["get"]["parameters"]
            if each["name"] == "q"
        ]
        self.assertTrue(q["required"])


class SchemathesisTests(SynchronousTestCase):
    """A program that makes requests of a description, lawful ones and others, and looks at the answers."""

    def test_all_checks(self) -> None:
        """It has nothing to say against any answer."""
        beside = Path(sys.executable).with_name("schemathesis")
        program = os.environ.get("SCHEMATHESIS", str(beside))
        if not Path(program).exists():
            raise SkipTest("schemathesis is not installed here")
        daemon = Daemon(self)
        daemon.start(
            *("--json", "tcp:0:interface=127.0.0.1", "--web", "tcp:0:interface=127.0.0.1"),
            *("--bcrypt-rounds", "4"),
        )
        # Most names that it makes up are nobody's; this one it likes best.
        for name in ("alice", "0"):
            daemon.user(name).hang_up()
        (address,) = [address for kind, address in daemon.doors if kind == "web"]
        ran = subprocess.run(
            (
                *(program, "--no-color", "--config-file", str(SETTINGS), "run"),
                *(f"http://{address}/openapi.json", "--url", f"http://{address}/"),
                *("--auth", f"alice:{password('alice')}", "--checks", "all"),
                *("--max-examples", "15", "--seed", "1", "--no-shrink"),
            ),
            cwd=daemon.folder,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertRegex(ran.stdout, r"(\d+) selected / \1 total")
        self.assertFalse(daemon.traceback())
