"""The tests of L{chat}; C{python -m twisted.trial tests} runs them all."""

from __future__ import annotations

import os

# Where coverage is measured, it is that of this process.  The programs that tests start are
# left as their users have them.
os.environ.pop("COVERAGE_PROCESS_START", None)
