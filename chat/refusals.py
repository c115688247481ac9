"""The frames that tell of errors; each is counted."""

from __future__ import annotations

from chat.errors import FatalError, Refusal, account_gone
from chat.health import gauges
from chat.messages import Failed, Fatal, Frame


def gone() -> Frame:
    """The last word to a session whose account no longer exists."""
    return fatal(account_gone())


def fatal(error: FatalError) -> Frame:
    """The frame that tells of an error that ends the session."""
    gauges.refusals[error.code.value] += 1
    return Fatal(code=error.code.value, reason=error.reason)


def failed(refusal: Refusal) -> Frame:
    """The frame that tells of a refusal."""
    gauges.refusals[refusal.code.value] += 1
    return Failed(code=refusal.code.value, reason=refusal.reason, ref=refusal.ref, seconds=refusal.seconds)
