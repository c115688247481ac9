"""Whether the certificate that a server shows is the right one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from chat.client.errors import ChangedServer, KnownServersError, UnknownServer, WrongServer
from chat.client.known import AUTHORITIES, KnownServers
from chat.tls.fingerprint import COUNT, fingerprint, parse, same, words


@dataclass(frozen=True)
class Shown:
    """What a server has shown of itself.

    @ivar certificate: in DER.
    @ivar doubts: why the system's authorities do not vouch for it, a few words each; none
        if they do.
    """

    certificate: bytes
    doubts: tuple[str, ...] = ()


def claim(text: str) -> str:
    """A certificate's name, as a person types or pastes it: its fingerprint, or its eight words.

    @raise ValueError: it is neither.
    """
    spoken = text.lower().replace("-", " ").split()
    if len(spoken) == COUNT and all(word.isalpha() for word in spoken):
        return " ".join(spoken)
    try:
        return parse(text)
    except ValueError:
        raise ValueError(
            "a certificate is named by SHA256: and 64 hexadecimal digits, or by its"
            f" {COUNT} words, as the server prints them"
        ) from None


class Trust:
    """Decides about the certificates of servers, before anything is said to them.

    What is known of a server decides alone.  Of one that is not known, a certificate
    that the system's authorities vouch for is taken; any other one only if somebody
    says so: beforehand, by naming it, or afterwards, by L{accept}.

    @ivar demanded: a certificate is expected; so plaintext will not do.
    """

    def __init__(
        self,
        known: KnownServers,
        *,
        expected: str | None = None,
        replace: bool = True,
        accept_new: bool = False,
        learn: bool = False,
    ) -> None:
        """
        @param expected: the server met first must show this one, see L{claim}, and no other one as
            long as this object is used, whoever vouches for that.
        @param replace: that one takes the place of what was known; otherwise it must fit that as well.
        @param accept_new: take the certificate of an unknown server, whatever it is.
        @param learn: write down what was accepted; otherwise it is remembered as long as
            this object.
        """
        self.demanded = expected is not None
        self._known = known
        self._expected = expected
        self._replaces = replace
        self._accept_new = accept_new
        self._learn = learn
        self._remembered: dict[str, str] = {}

    def knows(self, address: str) -> bool:
        """Whether something is known of the certificate of this C{HOST:PORT}.

        @raise KnownServersError: the list of known servers cannot be read.
        """
        return bool(self._marks(address))

    def decide(self, address: str, shown: Shown) -> None:
        """Return if the server at this C{HOST:PORT} is the right one.

        @raise Untrusted: it is not, or we do not know.
        @raise KnownServersError: the list of known servers cannot be read.
        """
        name, spoken = fingerprint(shown.certificate), words(shown.certificate)
        if self._expected is None:
            self._compare(address, shown, name, spoken)
            return
        if not same(shown.certificate, self._expected) and spoken != self._expected:
            raise WrongServer(address, name, spoken, self._expected)
        if self._replaces:
            self._replace(address, name)
        else:
            self._compare(address, shown, name, spoken, named=True)
        self._remembered[address] = name
        self._expected = None

    def accept(self, error: UnknownServer) -> None:
        """Somebody says that this server is the right one.

        @raise ChangedServer: another program has accepted another one meanwhile.
        @raise KnownServersError: it cannot be written down, and is accepted until this program ends.
        """
        self._remembered[error.address] = error.fingerprint
        marks = self._learned(error.address, error.fingerprint, needed=True)
        if error.fingerprint not in marks:
            del self._remembered[error.address]
            raise ChangedServer(error.address, error.fingerprint, error.words, marks)

    def _compare(self, address: str, shown: Shown, name: str, spoken: str, named: bool = False) -> None:
        """Return if what the server shows fits what is known of it, or nothing is and it may be learned.

        @param named: it is the one that was expected.
        """
        mark = name if shown.doubts else AUTHORITIES
        marks = self._marks(address)
        if not marks:
            if shown.doubts and not named and not self._accept_new:
                raise UnknownServer(address, name, spoken, shown.doubts)
            needed = bool(shown.doubts) and not named
            # From here another program may be faster, and have met another server.
            marks = self._learned(address, name if named else mark, needed)
        if not any(same(shown.certificate, each) for each in marks) and mark not in marks:
            raise ChangedServer(address, name, spoken, marks, named)

    def _marks(self, address: str) -> list[str]:
        if address in self._remembered:
            return [self._remembered[address]]
        return self._known.marks(address)

    def _learned(self, address: str, mark: str, needed: bool) -> list[str]:
        """What is known of a server that was not.

        @param needed: it must be written down. Otherwise a program that accepts what is new would
            accept anything, each time that it is run.
        """
        if self._learn:
            try:
                return self._known.learn(address, mark)
            except KnownServersError:
                if needed:
                    raise
        self._remembered[address] = mark
        return [mark]

    def _replace(self, address: str, mark: str) -> None:
        """Write it down, if we should and can."""
        with suppress(KnownServersError):
            if self._learn and self._known.marks(address) != [mark]:
                self._known.replace(address, mark)
