"""What the doors with TLS show their clients, and how it is exchanged while they are open."""

from __future__ import annotations

from typing import Any, Callable, Collection, Optional

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from chat.errors import StartError
from chat.tls.certificate import Pair, Stamp, day, exposed, load
from chat.tls.context import context

#: How often the files are looked at, in seconds.
LOOK = 60.0
#: A certificate that is good for no longer than so many days is worth a word in the log.
SOON = 30


@implementer(IOpenSSLServerConnectionCreator)
class Credentials:
    """The certificate and the key of the server, as they are in their files.

    Connections keep what they have begun with; new ones get what was loaded last.
    """

    _log = Logger()

    def __init__(self, pair: Pair, protocols: Collection[bytes], now: Callable[[], float]) -> None:
        """Load them.

        @param protocols: see L{context}.
        @param now: the time, in seconds since 1970.
        @raise StartError: they cannot be used.
        """
        self.pair = pair
        self._protocols = protocols
        self._now = now
        self._loop: Optional[LoopingCall] = None
        self._stamp: Optional[Stamp] = None
        self._load()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See L{IOpenSSLServerConnectionCreator.serverConnectionForTLS}."""
        return SSL.Connection(self._context, None)

    def announce(self) -> None:
        """Tell the operator what clients will be shown."""
        self._log.info(
            "TLS certificate {file}, good until {day}", file=str(self.pair.certificate), day=day(self.expires)
        )
        self._log.info("fingerprint {fingerprint}", fingerprint=self.fingerprint)
        self._log.info("in words: {words}", words=self.words)
        self._warn()

    def watch(self, clock: Any) -> None:
        """From now on look whether the files change.

        @param clock: an L{twisted.internet.interfaces.IReactorTime}.
        """
        if not self.pair.readable():
            self._log.warn(
                "{certificate} and {key} cannot be read any more from here: what changes in them is taken"
                " at the next start only",
                certificate=str(self.pair.certificate),
                key=str(self.pair.key),
            )
            self._stamp = self.pair.stamp()
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock
        self._loop.start(LOOK, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    def reload(self) -> None:
        """Take what is in the files now; if that cannot be used, say so and go on with what there is."""
        before = self.fingerprint
        try:
            self._load()
        except StartError as error:
            self._log.error(
                "{error} Until then the one with {fingerprint} stays.", error=error, fingerprint=before
            )
            return
        if self.fingerprint == before:
            self._log.info("The TLS certificate was read again; it is the same.")
        else:
            self._log.info("There is a new TLS certificate; it was {fingerprint}", fingerprint=before)
            self.announce()

    def _look(self) -> None:
        try:
            if self.pair.stamp() != self._stamp:
                self.reload()
        except Exception:  # it would be the last look
            self._log.failure(
                "The TLS certificate cannot be looked after; the one with {fingerprint} stays",
                fingerprint=self.fingerprint,
            )

    def _load(self) -> None:
        # First the stamp: what changes while the files are read is seen at the next look.
        self._stamp = self.pair.stamp()
        identity = load(self.pair, self._now())
        shown, mode = context(identity, self._protocols), exposed(self.pair)
        # All of it, or nothing.
        self._context, self._mode = shown, mode
        self.fingerprint, self.words = identity.fingerprint, identity.words
        self.expires, self._left = identity.expires, identity.left(self._now())

    def _warn(self) -> None:
        if self._mode is not None:
            self._log.warn(
                "{key} has mode {mode}, others get at the key: make it 0600 (chmod)",
                key=str(self.pair.key),
                mode=f"{self._mode:04o}",
            )
        if self._left.days < SOON:
            self._log.warn(
                "This TLS certificate expires in {days} days: renew it in time", days=self._left.days
            )
