"""C{twistd chat}: the options, and the service they ask for."""

from __future__ import annotations

from pathlib import Path

from twisted.python import usage

from chat.accounts import Registration
from chat.service import DEFAULT_DOORS, ChatService, Settings


class Options(usage.Options):
    """What the operator may decide."""

    synopsis = "[options]"
    longdesc = """\
A store-and-forward chat server. A message that it accepts is delivered to its recipient, or comes
back to its sender with the reason; never lost, never doubled, never unaccounted for.

Every door is a Twisted endpoint, such as tcp:5311:interface=127.0.0.1, unix:/run/chat/json,
ssl:5311:privateKey=key.pem:certKey=cert.pem or systemd:domain=INET:index=0; each option may be
repeated, and naming any door replaces all the defaults (text on 127.0.0.1 port 5310, JSON on 5311,
DER on 5312). The log says for each the address it really listens on.

Try it with: telnet 127.0.0.1 5310"""

    optParameters = [
        ["data", "d", "chat-data", "Directory of users.db, passwords.db and messages.db; made if missing."],
        [
            "registration",
            None,
            None,
            "Who may sign up: open (anyone who reaches a door) or closed (nobody)."
            " [default: open while every door is on loopback or a UNIX socket, else closed]",
        ],
        ["bcrypt-rounds", None, "12", "Cost of password hashes, 4 to 31; raised hashes follow at login."],
        ["login-timeout", None, "60", "Seconds a login may take."],
        ["reserve-names", None, "90", "Days for which nobody can take the name of a deleted account."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["doors"] = []

    def opt_text(self, endpoint: str) -> None:
        """Open a door for people with telnet or nc here."""
        self["doors"].append(("text", endpoint))

    def opt_json(self, endpoint: str) -> None:
        """Open a door for programs here: one JSON object a line."""
        self["doors"].append(("json", endpoint))

    def opt_der(self, endpoint: str) -> None:
        """Open a door for programs here: ASN.1 DER."""
        self["doors"].append(("der", endpoint))

    def postOptions(self) -> None:
        """Check every value.

        @raise usage.UsageError: what is wrong, and what would be right.
        """
        self["bcrypt-rounds"] = _number(self, "bcrypt-rounds", int, 4, 31)
        self["login-timeout"] = _number(self, "login-timeout", float, 0.1, 86400)
        self["reserve-names"] = _number(self, "reserve-names", float, 0, 36500)
        if self["registration"] is not None:
            try:
                self["registration"] = Registration(self["registration"])
            except ValueError:
                modes = " or ".join(mode.value for mode in Registration)
                raise usage.UsageError(f"--registration is {modes}.") from None


def makeService(options: Options) -> ChatService:
    """The server that these options ask for."""
    from twisted.internet import reactor

    settings = Settings(
        data=Path(options["data"]),
        doors=tuple(options["doors"]) or DEFAULT_DOORS,
        registration=options["registration"],
        bcrypt_rounds=options["bcrypt-rounds"],
        login_timeout=options["login-timeout"],
        reserve_names=options["reserve-names"],
    )
    try:
        return ChatService(reactor, settings)
    except (ValueError, OSError) as error:
        raise SystemExit(f"chat: a door cannot be understood ({error}): see twistd chat --help") from None


def _number(options: Options, name: str, kind: type, least: float, most: float) -> float:
    try:
        value: float = kind(options[name])
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise usage.UsageError(f"--{name} is a number from {least:g} to {most:g}.")
    return value
