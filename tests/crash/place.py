"""Where the files of so many servers go: memory, where there is a file system in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

_MEMORY = "/dev/shm"


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone afterwards.

    What a real disk has kept is not asked here, so nothing is gained by waiting for one.
    """
    directory = Path(tempfile.mkdtemp(prefix="chat-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
