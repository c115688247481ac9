"""Every refusal that a client can be told, with its stable code.

A L{Refusal} becomes a C{failed} frame and the session goes on; a L{FatalError}
becomes a C{fatal} frame and the connection closes.  The reason is a sentence for
a person: what was wrong, what the limit is, what to do.  It never holds a
password, a subject or a body.
"""

from __future__ import annotations

from enum import Enum


class Code(str, Enum):
    """The stable codes of C{failed}, C{fatal} and returned messages."""

    # failed
    BAD_FRAME = "bad-frame"
    BAD_STATE = "bad-state"
    BAD_NAME = "bad-name"
    BAD_PASSWORD = "bad-password"
    WRONG_PASSWORD = "wrong-password"
    WRONG_TOKEN = "wrong-token"
    WRONG_INVITE = "wrong-invite"
    WRONG_RECOVERY = "wrong-recovery"
    NAME_TAKEN = "name-taken"
    NAME_RESERVED = "name-reserved"
    NAME_CONFUSABLE = "name-confusable"
    TOO_LARGE = "too-large"
    REF_REUSED = "ref-reused"
    STORAGE_FULL = "storage-full"
    SLOW_DOWN = "slow-down"
    BAD_QUERY = "bad-query"
    AUTOMATIC_LOOP = "automatic-loop"
    # fatal
    MALFORMED_FRAME = "malformed-frame"
    FRAME_TOO_LARGE = "frame-too-large"
    LOGIN_TIMEOUT = "login-timeout"
    TLS_NEEDED = "tls-needed"
    ACCOUNT_GONE = "account-gone"
    LOGGED_OUT = "logged-out-elsewhere"
    SHUTTING_DOWN = "shutting-down"
    TOO_MANY_CONNECTIONS = "too-many-connections"
    INTERNAL_ERROR = "internal-error"
    # returned
    UNKNOWN_RECIPIENT = "unknown-recipient"
    ACCOUNT_DELETED = "account-deleted"
    EXPIRED = "expired"
    MAILBOX_FULL = "mailbox-full"
    BLOCKED = "blocked"


class ChatError(Exception):
    """An error that the other side is told about, with its code and a sentence."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Refusal(ChatError):
    """Not this; the session goes on.

    @ivar ref: the C{ref} of the refused message, where there was one.
    @ivar seconds: how long to wait before trying again.
    """

    def __init__(
        self, code: Code, reason: str, *, ref: str | None = None, seconds: int | None = None
    ) -> None:
        super().__init__(code, reason)
        self.ref = ref
        self.seconds = seconds


class FatalError(ChatError):
    """The session cannot go on."""


class BadFrame(Refusal):
    """Well-formed JSON or DER that is no frame of this protocol."""

    def __init__(self, reason: str, *, ref: str | None = None) -> None:
        super().__init__(Code.BAD_FRAME, reason, ref=ref)


class MalformedFrame(FatalError):
    """Not JSON, not UTF-8, not strict DER."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.MALFORMED_FRAME, reason)


class FrameTooLarge(FatalError):
    """More bytes than one frame may have; how many follow is not known."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            Code.FRAME_TOO_LARGE,
            f"A frame may have at most {limit} bytes here; send less in one frame.",
        )


class StartError(Exception):
    """The server cannot start: one line that names the thing and the remedy."""


def account_gone() -> FatalError:
    """The last word to a session whose account no longer exists."""
    return FatalError(Code.ACCOUNT_GONE, "This account no longer exists.")


def logged_out() -> FatalError:
    """The last word to a session that another one of the account has logged out."""
    return FatalError(Code.LOGGED_OUT, "Another session of this account has logged out all the others.")


def tls_needed() -> FatalError:
    """The answer to plaintext at a door with TLS."""
    return FatalError(
        Code.TLS_NEEDED,
        "This door speaks TLS only. What was just sent, others could read: connect with TLS, as chat"
        " and openssl s_client do.",
    )


def name_reserved(name: str) -> Refusal:
    """The refusal to sign up under a name that was freed not long ago."""
    return Refusal(
        Code.NAME_RESERVED,
        f"The name {name} belonged to an account that was deleted; it is kept reserved for a while."
        " Choose another one.",
    )


def looks_taken() -> Refusal:
    """The refusal to sign up under a name that people could take for another's; whose is not told."""
    reason = "This name looks too much like one that is taken. Choose another one."
    return Refusal(Code.NAME_CONFUSABLE, reason)


def mixes_scripts() -> Refusal:
    """The refusal to sign up under a name in letters that do not belong together."""
    reason = "This name mixes letters or digits of different scripts, as a name made to deceive would."
    return Refusal(Code.NAME_CONFUSABLE, f"{reason} Choose one in a single script.")


def proof_outdated() -> Refusal:
    """The refusal of a token to somebody whose proof is worth nothing any more."""
    return Refusal(
        Code.BAD_STATE,
        "The password was changed, or all tokens were revoked, after this login."
        " Log in again to be given a token.",
    )


def automatic_loop(ref: str | None = None) -> Refusal:
    """The refusal of what a program answers to something that no person wrote."""
    reason = (
        "This automatic message answers one that is automatic itself, or came back; no program answers those."
        " It was not sent."
    )
    return Refusal(Code.AUTOMATIC_LOOP, reason, ref=ref)


def echoing(ref: str | None, seconds: int) -> Refusal:
    """The refusal of what a program says to another one that it has talked with for too long."""
    reason = (
        "Automatic messages between these two accounts have answered each other too often, and no person"
        f" wrote in between. Keep the message and send it again in {seconds} second{'s' * (seconds != 1)}."
    )
    return Refusal(Code.SLOW_DOWN, reason, ref=ref, seconds=seconds)


def storage_full(ref: str | None = None) -> Refusal:
    """The refusal to take in more than there is room for."""
    reason = "The server has no room left for this. Keep it and try again later."
    return Refusal(Code.STORAGE_FULL, reason, ref=ref)
