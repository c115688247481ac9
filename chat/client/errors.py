"""What can go wrong for a client, each with a sentence for a person.

No text here ever holds a password, a subject or a body.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.python.failure import Failure

from chat.errors import Code
from chat.messages import PROTOCOL_VERSION, USER_FRAME_BYTES, Failed, Fatal, Frame
from chat.wire.text_words import visible

#: What the server ends a conversation with and would end the next one with, too.
_FOR_GOOD = frozenset({Code.ACCOUNT_GONE, Code.LOGGED_OUT, Code.MALFORMED_FRAME, Code.FRAME_TOO_LARGE})

#: What the server refuses today, and may take tomorrow.
_PASSING = frozenset({Code.STORAGE_FULL, Code.SLOW_DOWN})


class ClientError(Exception):
    """Something that was asked for did not happen."""


class Refused(ClientError):
    """The server said no to one thing; the conversation goes on.

    @ivar code: the stable code, for a program.
    @ivar reason: the server's sentence, for a person.
    @ivar seconds: how long to wait before trying again, where the server said so.
    """

    def __init__(self, code: str, reason: str, seconds: int | None = None) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason
        self.seconds = seconds

    @classmethod
    def by(cls, frame: Failed) -> Refused:
        """The exception that says what this frame says."""
        return cls(frame.code, frame.reason, frame.seconds)

    @property
    def passing(self) -> bool:
        """Whether it says nothing about what was asked, so that the same may be granted later."""
        return self.code in _PASSING


class NoSuchAccount(ClientError):
    """The name is free, and the client was not told to sign up."""

    def __init__(self, username: str) -> None:
        super().__init__(f"There is no account {username!r} on this server.")
        self.username = username


class Unanswerable(ClientError):
    """A program does not answer what no person wrote, or what came back: two of them would never end."""

    def __init__(self) -> None:
        super().__init__("An automatic message, or one that came back, is not answered by a program.")


class Disconnected(ClientError):
    """There is no connection, or it was lost before the answer came.

    Whether the server did what was asked is not known.
    """


class Ended(Disconnected):
    """The server ended the conversation with a C{fatal} frame.

    @ivar code: the stable code, for a program.
    @ivar reason: the server's sentence, for a person.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason

    @classmethod
    def by(cls, frame: Fatal) -> Ended:
        """The exception that says what this frame says."""
        return cls(frame.code, frame.reason)


class Silent(Disconnected):
    """The server said nothing for so long that the connection was given up."""


class NotChat(Disconnected):
    """What the server sent is not this protocol, or not in this codec."""

    @classmethod
    def of_version(cls, protocol: int) -> NotChat:
        """The server speaks another version of the protocol."""
        return cls(
            f"The server speaks version {protocol} of the protocol, this client version {PROTOCOL_VERSION}."
        )

    @classmethod
    def by(cls, frame: Frame) -> NotChat:
        """This frame has no place here."""
        return cls(f"The server said {type(frame).__name__} before the login.")


class OutboxFull(ClientError):
    """Too much waits to be accepted; nothing was sent.

    Send again when something that was sent earlier is accepted.
    """


class UnknownMessage(ClientError):
    """This account has sent no message with that id."""


class Stopped(ClientError):
    """The client has stopped for good and will not connect again.

    @ivar cause: why, or C{None} when it was asked to.
    """

    def __init__(self, cause: BaseException | None = None) -> None:
        super().__init__("The client has stopped" + (f": {cause}" if cause else "."))
        self.cause = cause


class Distrust(ClientError):
    """It is not safe to talk to this server, so nothing was said to it.

    The text is our own, in several lines.  A client that meets this stops: trying again
    would not make it safe.
    """


class Untrusted(Distrust):
    """The server's certificate is not to be trusted.

    @ivar address: C{HOST:PORT}, as known servers are written down.
    @ivar fingerprint: that of the certificate it has shown; C{words} say the same.
    """

    def __init__(self, address: str, fingerprint: str, words: str, text: str) -> None:
        super().__init__(text)
        self.address = address
        self.fingerprint = fingerprint
        self.words = words


class UnknownServer(Untrusted):
    """The server is new to us, and no authority vouches for its certificate.

    @ivar doubts: why not, a few words each.
    """

    def __init__(self, address: str, fingerprint: str, words: str, doubts: Sequence[str]) -> None:
        super().__init__(
            address,
            fingerprint,
            words,
            f"The server at {address} is not known yet, and its certificate proves nothing by itself:\n"
            f"  {'; '.join(doubts)}\n"
            f"{_shown('It shows', fingerprint, words)}\n"
            "Nothing was sent. Ask whoever runs the server for its fingerprint. If it is this one:\n"
            f"  chat trust {address} {fingerprint}",
        )
        self.doubts = doubts


class ChangedServer(Untrusted):
    """The server shows another certificate than the one that is known.

    @ivar known: what it should have shown: fingerprints, or C{authorities}.
    """

    def __init__(
        self, address: str, fingerprint: str, words: str, known: Sequence[str], invited: bool = False
    ) -> None:
        """
        @param invited: it is the certificate that an invitation names.
        """
        proof = "An invitation names the new one, which proves nothing: anybody may have written it.\n"
        expected = "; ".join("one that an authority vouches for" if k == "authorities" else k for k in known)
        super().__init__(
            address,
            fingerprint,
            words,
            f"THE CERTIFICATE OF {address} HAS CHANGED.\n"
            f"  It was: {expected}\n"
            f"{_shown('It is now', fingerprint, words)}\n"
            f"{proof if invited else ''}"
            "Either somebody is between you and the server, who would read your password and your\n"
            "messages; or the server was given a new certificate. Nothing was sent. Ask whoever runs\n"
            "the server for its fingerprint. If it is the new one, accept it with:\n"
            f"  chat trust {address} {fingerprint}",
        )
        self.known = known


class WrongServer(Untrusted):
    """The server does not show the certificate that was named to us, by an invitation for example."""

    def __init__(self, address: str, fingerprint: str, words: str, expected: str) -> None:
        super().__init__(
            address,
            fingerprint,
            words,
            f"The server at {address} is not the one it should be.\n"
            f"  Expected: {expected}\n"
            f"{_shown('It shows', fingerprint, words)}\n"
            "Either somebody is between you and the server, or it was given a new certificate, or you\n"
            "were told a wrong one. Nothing was sent. Ask whoever runs the server for its fingerprint.",
        )
        self.expected = expected


class PlaintextRefused(Distrust):
    """The server has a certificate that is known, so it is not spoken to without TLS."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"The server at {address} is known to speak TLS; without it, nothing was sent.\n"
            "If it really does not any more, forget its certificate first:\n"
            f"  chat trust --remove {address}"
        )


class KnownServersError(Distrust):
    """The list of known servers cannot be read or written, or is not one."""


class NoTLS(NotChat):
    """The other end does not speak TLS, or not with us."""


def _shown(what: str, fingerprint: str, words: str) -> str:
    return f"  {what}: {fingerprint}\n  in words: {words}"


def told(error: BaseException) -> str:
    """What an error says, fit for a terminal: the server may have a part in it."""
    return str(error) if isinstance(error, Distrust) else visible(str(error))


def too_large(wire: bytes) -> Refused | None:
    """The refusal of what the server would take for an attack, and close the connection, if this is such."""
    if len(wire) <= USER_FRAME_BYTES:
        return None
    reason = f"The server takes {USER_FRAME_BYTES} bytes at a time; this would be {len(wire)}."
    return Refused(Code.TOO_LARGE.value, reason)


def unreachable(failure: Failure) -> ClientError:
    """Why an attempt to connect failed, for a person."""
    if isinstance(failure.value, ClientError):
        return failure.value
    return Disconnected(f"The server cannot be reached: {failure.getErrorMessage()}")


def for_good(error: Exception, welcomed: bool) -> bool:
    """Whether trying to connect again cannot help.

    @param welcomed: the server has let us in before.
    """
    if isinstance(error, Distrust):
        return True
    if isinstance(error, Ended):
        return error.code in _FOR_GOOD
    # Once logged in, a strange word is an accident on the way, not the wrong door.
    return isinstance(error, NotChat) and not welcomed
