"""Which doors speak TLS, and with which certificate."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from chat.health.rounds import Rounds
from chat.tls.certificate import Pair, make, own, unmake
from chat.tls.credentials import Credentials
from chat.tls.door import Door, encrypts, is_local, is_network


class Way(str, Enum):
    """How a door is talked through, as the log says it."""

    LOCAL = ""
    TLS = ", TLS"
    PLAINTEXT = ", plaintext"


class Guard:
    """Lets nobody talk in plaintext where others could overhear it, unless the operator has said so."""

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        now: Callable[[], float],
        *,
        forced: bool = False,
        waived: bool = False,
        given: Optional[Pair] = None,
    ) -> None:
        """Load the certificate that was given: it may be out of reach later.

        @param directory: where the server's own certificate is, or will be made.
        @param now: the time, in seconds since 1970.
        @param forced: doors on loopback speak TLS, too.
        @param waived: doors that others can reach may do without.
        @raise chat.errors.StartError: the certificate cannot be used.
        """
        self._directory = directory
        self._now = now
        self._forced = forced
        self._waived = waived
        self._made: list[Path] = []
        self._credentials = None if given is None else Credentials(given, now)

    def open(self, doors: Sequence[tuple[Door, IListeningPort]], clock: Any) -> list[Way]:
        """Open each door in the way that its port asks for, and tell which that is.

        Nobody may have come in yet: before the reactor runs.

        @raise chat.errors.StartError: there is no certificate, and none can be made.
        """
        encrypted = [port for _, port in doors if self._has_to_encrypt(port)]
        if encrypted and self._credentials is None:
            hosts = [str(getattr(port.getHost(), "host", "")) for port in encrypted]
            self._made = make(own(self._directory), hosts, self._now())
            self._credentials = Credentials(own(self._directory), self._now)
        ways = []
        for door, port in doors:
            if self._credentials is not None and port in encrypted:
                door.open_encrypted(self._credentials.speaking(door.protocols), clock)
                ways.append(Way.TLS)
            else:
                door.open()
                ways.append(_unaided(port))
        if self._credentials is not None and not encrypted:
            self._log.warn("no door shows the certificate given: those on loopback need --tls for it")
        if Way.PLAINTEXT in ways:
            self._log.warn("--allow-plaintext: who is in between can read passwords and mail")
        return ways

    def start(self, clock: Any) -> None:
        """Tell by what clients know the certificate, and look after its files from now on."""
        if self._credentials is not None:
            self._credentials.announce()
            self._credentials.watch(clock)

    def reload(self) -> None:
        """Take the certificate from its files again."""
        if self._credentials is None:
            self._log.info("there is no certificate that could be read again")
        else:
            self._credentials.reload()

    def stop(self) -> None:
        """Look after nothing any more."""
        if self._credentials is not None:
            self._credentials.stop()

    @property
    def rounds(self) -> list[Rounds]:
        """Those in which the certificate is looked after."""
        rounds = None if self._credentials is None else self._credentials.rounds
        return [] if rounds is None else [rounds]

    @property
    def expires(self) -> datetime | None:
        """Until when the certificate is good that clients are shown; C{None}: there is none."""
        return None if self._credentials is None else self._credentials.expires

    def undo(self) -> None:
        """The start has failed: stop, and take back what was made for it."""
        self.stop()
        unmake(self._made)

    def _has_to_encrypt(self, port: IListeningPort) -> bool:
        """Whether it is for us to have TLS spoken there."""
        address = port.getHost()
        if encrypts(port) or not is_network(address):
            return False
        return self._forced or not (self._waived or is_local(address))


def _unaided(port: IListeningPort) -> Way:
    """How a door is talked through where we add nothing."""
    if encrypts(port):
        return Way.TLS
    return Way.LOCAL if is_local(port.getHost()) else Way.PLAINTEXT
