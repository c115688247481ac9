"""Everything that is logged during a test, at every level."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, eventAsJSON, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer


@implementer(ILogObserver)
class LogBook:
    """Collects what is logged until the test is over."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self)
        test.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        """See L{ILogObserver}."""
        self.events.append(event)

    @property
    def text(self) -> str:
        """All of it as it is written to a log file, tracebacks included."""
        return "\n".join(eventAsText(event, includeTimestamp=False) for event in self.events)

    @property
    def whole(self) -> str:
        """All of it in every form: as text, as JSON, and each field of each event."""
        return "\n".join([self.text, *map(eventAsJSON, self.events), *map(repr, self.events)])
