"""The threads in which passwords are hashed: few of them, and behind everything else for the processor.

bcrypt lets go of Python's lock while it computes, but not of the processor.  Where there
is one core, the kernel would share it fairly between these threads and the one that
serves all who are logged in; a storm of logins would slow down every message.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from twisted.python.threadpool import ThreadPool


def _cores() -> int:
    """How many cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


#: How many threads hash: more than the cores would only slow each other down, and each
#: takes its share from the network and the database after all.
THREADS = min(4, _cores())
#: By how much they are nicer than the rest of the process, where threads can be.
NICER = 10


class _HashingThread(threading.Thread):
    """Steps back as it starts."""

    def run(self) -> None:
        """Work, behind the others."""
        step_back()
        super().run()


class HashingPool(ThreadPool):
    """A pool of such threads."""

    threadFactory = _HashingThread

    def __init__(self, most: int = THREADS, name: str = "passwords") -> None:
        super().__init__(0, most, name)


def step_back() -> None:
    """Let all other threads go first from now on.

    Only Linux has a priority for each thread; elsewhere it would be that of the process.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it; then it is slower, and works
            own = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, own, min(19, os.getpriority(os.PRIO_PROCESS, own) + NICER))
