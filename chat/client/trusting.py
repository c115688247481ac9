"""C{chat trust}: which servers are known, and by what."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from chat.client.address import Host
from chat.client.console import Console, EndOfInput
from chat.client.errors import ClientError, Distrust, WrongServer, told, unreachable
from chat.client.introduction import asked_whether_right
from chat.client.known import AUTHORITIES, KnownServers
from chat.client.secure import SecureEndpoint
from chat.client.trust import Shown
from chat.tls.fingerprint import fingerprint, words

DONE, REFUSED, UNREACHABLE = 0, 1, 5

#: How long a server may take to show its certificate.
_PATIENCE = 20.0


class _Seen(ClientError):
    """The certificate was shown; that was all we wanted."""

    def __init__(self, shown: Shown) -> None:
        super().__init__("seen")
        self.shown = shown


async def look(reactor: Any, host: Host) -> Shown:
    """What a server shows of itself; nothing is said to it.

    @raise ClientError: it cannot be reached, or does not speak TLS.
    """

    def decide(shown: Shown) -> None:
        raise _Seen(shown)

    endpoint = SecureEndpoint(reactor, HostnameEndpoint(reactor, host.host, host.port), host.host, decide)
    try:
        await endpoint.connect(Factory()).addTimeout(_PATIENCE, reactor)
    except _Seen as seen:
        return seen.shown
    except Exception:
        raise unreachable(Failure()) from None
    raise AssertionError("what was refused is connected")


class Trusting:
    """Shows, changes and lists what is known of servers."""

    def __init__(self, known: KnownServers, console: Console, complain: Callable[[str], object]) -> None:
        """
        @param complain: told why something was not done.
        """
        self._known = known
        self._console = console
        self._complain = complain

    def list(self) -> int:
        """Show all known servers; the exit status."""
        entries = list(self._known)
        for address, mark in entries:
            self._console.show(f"{address} {mark}")
        if not entries:
            self._console.show(f"No server is known yet; {self._known.path} is where they would be.")
        return DONE

    def remove(self, host: Host) -> int:
        """Forget a server; the exit status."""
        if not self._known.remove(host.name):
            self._complain(f"{host.name} was not known.")
            return REFUSED
        self._console.show(f"{host.name} is forgotten.")
        return DONE

    async def accept(self, reactor: Any, host: Host, expected: str | None) -> int:
        """Show what a server shows now, and accept it if it is the right one; the exit status.

        @param expected: the name of the right one, see L{chat.client.trust.claim}; otherwise
            the person at the console is asked.
        """
        try:
            shown = await look(reactor, host)
            return await self._accept(host.name, shown, expected)
        except EndOfInput:
            return self._unchanged(host.name, fingerprint(shown.certificate))
        except ClientError as error:
            self._complain(told(error))
            return REFUSED if isinstance(error, Distrust) else UNREACHABLE

    async def _accept(self, address: str, shown: Shown, expected: str | None) -> int:
        name, spoken = fingerprint(shown.certificate), words(shown.certificate)
        known = self._known.marks(address)
        self._show(address, name, spoken, shown, known)
        if expected is not None and expected not in (name, spoken):
            raise WrongServer(address, name, spoken, expected)
        mark = name if shown.doubts else AUTHORITIES
        if mark in known or name in known:
            self._console.show("It is the one that is known.")
            return DONE
        if expected is None and (known or shown.doubts):
            if not self._console.interactive:
                return self._unchanged(address, name)
            if not await asked_whether_right(self._console, name, spoken):
                return self._unchanged(address, name)
        self._known.replace(address, mark)
        self._console.show("It is known from now on.")
        return DONE

    def _show(self, address: str, name: str, spoken: str, shown: Shown, known: Sequence[str]) -> None:
        vouched = "An authority that this machine knows vouches for it."
        for line in (
            f"The certificate of {address}:",
            f"  in words: {spoken}",
            f"  {name}",
            f"No authority vouches for it: {'; '.join(shown.doubts)}." if shown.doubts else vouched,
            *(f"Known until now: {mark}" for mark in known),
        ):
            self._console.show(line)

    def _unchanged(self, address: str, name: str) -> int:
        self._complain(f"Nothing was changed. To accept it: chat trust {address} {name}")
        return REFUSED
