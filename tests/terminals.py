"""Programs at pseudo-terminals: how they end, however busy the machine is.

What C{pexpect} itself does about it gives up after tenths of a second.
"""

from __future__ import annotations

import signal
from typing import Any


def left(program: Any) -> int | None:
    """Wait until a program that has said its last word is gone; its exit status, if it ended by itself."""
    program.wait()
    program.close()
    status: int | None = program.exitstatus
    return status


def put_away(program: Any) -> None:
    """End a program where it stands; harmless when it is gone."""
    if program.isalive():
        program.kill(signal.SIGKILL)
        program.wait()
    program.close()
