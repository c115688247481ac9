"""What can go wrong for a client, each with a sentence for a person.

No text here ever holds a password, a subject or a body.
"""

from __future__ import annotations

from twisted.python.failure import Failure

from chat.messages import PROTOCOL_VERSION, Failed, Fatal, Frame


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


class NoSuchAccount(ClientError):
    """The name is free, and the client was not told to sign up."""

    def __init__(self, username: str) -> None:
        super().__init__(f"There is no account {username!r} on this server.")
        self.username = username


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


def unreachable(failure: Failure) -> Disconnected:
    """Why an attempt to connect failed, for a person."""
    return Disconnected(f"The server cannot be reached: {failure.getErrorMessage()}")
