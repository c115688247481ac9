"""What the doors with TLS show their clients, and how it is exchanged while they are open."""

from __future__ import annotations

from typing import Any, Callable, Collection, Mapping, Optional

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from chat.errors import StartError
from chat.health.rounds import Rounds
from chat.tls.certificate import Pair, Stamp, day, exposed, load
from chat.tls.context import context

#: How often the files are looked at, in seconds.
LOOK = 60.0
#: A certificate that is good for no longer than so many days is worth a word in the log.
SOON = 30


class Credentials:
    """The certificate and the key of the server, as they are in their files.

    Connections keep what they have begun with; new ones get what was loaded last.

    @ivar rounds: those in which they are looked after, once they are.
    """

    _log = Logger()

    def __init__(self, pair: Pair, now: Callable[[], float]) -> None:
        """Load them.

        @param now: the time, in seconds since 1970.
        @raise StartError: they cannot be used.
        """
        self.pair = pair
        self._now = now
        self.rounds: Optional[Rounds] = None
        self._stamp: Optional[Stamp] = None
        self._contexts: dict[tuple[bytes, ...], SSL.Context] = {}
        self._load()

    def speaking(self, protocols: Collection[bytes]) -> IOpenSSLServerConnectionCreator:
        """Show them at a door where this is spoken, see L{context}.

        Each has a context of its own: a session that was begun at one door is not resumed at another.
        """
        spoken = tuple(protocols)
        if spoken not in self._contexts:
            self._contexts[spoken] = context(self._identity, spoken)
        return _Shown(self._contexts, spoken)

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
        self.rounds = Rounds("certificate", LOOK, clock, self._look)
        self.rounds.start()

    def stop(self) -> None:
        """Look no more."""
        if self.rounds is not None:
            self.rounds.stop()

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

    async def _look(self) -> None:
        if self.pair.stamp() != self._stamp:
            self.reload()

    def _load(self) -> None:
        # First the stamp: what changes while the files are read is seen at the next look.
        self._stamp = self.pair.stamp()
        identity = load(self.pair, self._now())
        # At least one, so that what OpenSSL does not take is found out here.
        contexts = {spoken: context(identity, spoken) for spoken in (*self._contexts, ())}
        mode = exposed(self.pair)
        # All of it, or nothing.
        self._contexts.update(contexts)
        self._identity, self._mode = identity, mode
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


@implementer(IOpenSSLServerConnectionCreator)
class _Shown:
    """Credentials as they are shown at one door."""

    def __init__(self, contexts: Mapping[tuple[bytes, ...], SSL.Context], spoken: tuple[bytes, ...]) -> None:
        self._contexts = contexts
        self._spoken = spoken

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See L{IOpenSSLServerConnectionCreator.serverConnectionForTLS}."""
        return SSL.Connection(self._contexts[self._spoken], None)
