"""The tests of L{chat}; C{python -m twisted.trial tests} runs them all, with C{-j 2} on two cores."""

from __future__ import annotations

import os
import sys

# Where coverage is measured, it is that of the process that runs tests.  The programs that tests
# start are left as their users have them, unless they are there to run tests (C{-j}).
if not any(argument.startswith(("-j", "--jobs")) for argument in sys.argv[1:]):
    os.environ.pop("COVERAGE_PROCESS_START", None)
