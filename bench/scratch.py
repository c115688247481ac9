"""A folder for the files of one measurement, which are gone behind it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Callable, Optional

from bench.load import LoadError


def measured(program: str, parent: Optional[Path], measure: Callable[[Path], Optional[bool]]) -> int:
    """Measure in a folder of its own; exit status 1 when a server failed, or what was measured is bad.

    @param program: as what it was started.
    @param parent: where to make the folder; C{None}: where temporary files are.
    @param measure: measures in that folder, which has an absolute name, and prints; C{False} is bad.
    """
    folder = Path(tempfile.mkdtemp(prefix="chat-bench-", dir=parent)).resolve()
    try:
        return 1 if measure(folder) is False else 0
    except (LoadError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
