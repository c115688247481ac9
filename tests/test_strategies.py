"""What hypothesis tries is always the same: a test that passed passes again."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.strategies import ALWAYS

HERE = Path(__file__).parent


class AlwaysTests(SynchronousTestCase):
    """L{ALWAYS}."""

    def examples(self) -> list[tuple[str, bytes, int]]:
        """What is tried."""
        tried: list[tuple[str, bytes, int]] = []

        @ALWAYS
        @given(st.text(), st.binary(), st.integers())
        def look(text: str, octets: bytes, number: int) -> None:
            tried.append((text, octets, number))

        look()
        return tried

    def test_same(self) -> None:
        """Whatever was imported meanwhile, for other tests, the examples are the same."""
        before = self.examples()
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        (folder / "newcomer.py").write_text("WORDS = ('a word', 'another word', b'octets', 71717171)\n")
        spec = importlib.util.spec_from_file_location("newcomer", folder / "newcomer.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        self.addCleanup(sys.modules.pop, "newcomer")
        sys.modules["newcomer"] = module
        spec.loader.exec_module(module)
        self.assertEqual(self.examples(), before)

    def test_everywhere(self) -> None:
        """No test draws its examples otherwise: they would be others each time, and have to be quick."""
        texts = {file.name: file.read_text("utf-8") for file in HERE.rglob("*.py")}
        found = {
            f"{name}: {node.name}": [ast.unparse(decorator) for decorator in node.decorator_list]
            for name, text in texts.items()
            if "@given(" in text
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef)
        }
        drawn = {name: marks for name, marks in found.items() if any(m.startswith("given(") for m in marks)}
        self.assertGreater(len(drawn), 20)
        self.assertEqual([name for name, marks in drawn.items() if "ALWAYS" not in " ".join(marks)], [])
