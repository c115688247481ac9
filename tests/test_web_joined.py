"""The modules of the page in one file."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chat.web.files import SCRIPT
from chat.web.joined import joined

MODULES = {
    "first.js": """// What comes first.
import { twice as double, Late } from "./second.js";
import * as all from "./third-one.js";

const own = 2;
console.log(double(own), all.$(1), new Late().name, all.later().next().value);
""",
    "second.js": """import { $ } from "./third-one.js";

const own = 3; // that of first.js is another one
/** An export that is spoken of: export const no = 1. */
export const twice = (number) => $(number) + number + own - own;
export class Late {
  name = "late";
}
""",
    "third-one.js": """export function $(number) {
  return number;
}
export async function waits() {}
export function* later() {
  yield "then";
}
console.log("once");
""",
}


class JoinedTests(SynchronousTestCase):
    """One file does what the modules do."""

    def test_runs(self) -> None:
        """Each module runs once, behind those that it needs, with names of its own."""
        script = joined(MODULES, "first.js")
        places = [script.index(f"// {name}") for name in ("third-one.js", "second.js", "first.js")]
        self.assertEqual(places, sorted(places))
        if shutil.which("node") is None:
            raise SkipTest("no node here to run it")
        ran = subprocess.run(
            ["node", "--input-type=module"], input=script, capture_output=True, text=True, check=False
        )
        self.assertEqual((ran.stdout, ran.stderr), ("once\n4 1 late then\n", ""))

    def test_needed(self) -> None:
        """What is not needed is left out; what is, is there once."""
        script = joined({**MODULES, "other.js": ""}, "second.js")
        self.assertNotIn("// first.js\n", script)
        self.assertNotIn("// other.js\n", script)
        self.assertEqual(script.count("// third-one.js"), 1)

    def test_page(self) -> None:
        """All modules of the page are in its file."""
        modules = {
            each.name: each.read_text("utf-8")
            for each in (files("chat.web") / "page").iterdir()
            if each.name.endswith(".js")
        }
        script = joined(modules, SCRIPT)
        for name in modules:
            self.assertEqual(script.count(f"\n// {name}\n") + script.startswith(f"// {name}\n"), 1, name)

    def test_refused(self) -> None:
        """What could not be joined rightly is not: it is known before anybody sees the page."""
        for modules, words in (
            ({"a.js": 'import { b } from "./b.js";\n'}, "a.js needs b.js"),
            (
                {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'},
                "b.js needs a.js",
            ),
            ({"a.js": 'import b from "./b.js";\n', "b.js": ""}, "import b"),
            ({"a.js": 'import "./b.js";\n', "b.js": ""}, "import"),
            ({"a.js": "export default 1;\n"}, "export default"),
            ({"a.js": "export let a = 1;\n"}, "export let"),
            ({"a.js": "const a = 1;\nexport { a };\n"}, "export {"),
        ):
            error = self.assertRaises(ValueError, joined, modules, "a.js")
            self.assertIn(words, str(error))
