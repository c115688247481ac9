"""C{twistd chat}: the options, and the service they ask for."""

from __future__ import annotations

import gc
from pathlib import Path

from twisted.python import usage

from chat.accounts import Registration
from chat.errors import StartError
from chat.rights import Rights
from chat.service import DEFAULT_DOORS, WEB, ChatService, Settings
from chat.signals import stop_once
from chat.store.key import found
from chat.store.room import MIB
from chat.tls.certificate import Pair


class Options(usage.Options):
    """What the operator may decide."""

    synopsis = "[options]"
    longdesc = """\
A store-and-forward chat server. A message that it accepts is delivered to its recipient, or comes
back to its sender with the reason; never lost, never doubled, never unaccounted for.

Every door is a Twisted endpoint, such as tcp:5311:interface=127.0.0.1, unix:/run/chat/json or
systemd:domain=INET:index=0; each option may be repeated, and naming any door replaces all the
defaults (text on 127.0.0.1 port 5310, JSON on 5311, DER on 5312, web on 5380). The log says for
each the address it really listens on.

A door that other machines can reach speaks TLS. Without --certificate the server makes a key and a
certificate in the data directory at its first start; the log says its fingerprint.

Try it with a browser at http://127.0.0.1:5380/, or with: telnet 127.0.0.1 5310"""

    optFlags = [
        ["tls", None, "Speak TLS at doors on loopback, too."],
        ["metrics-open", None, "Show /metrics of the web door to everybody, not only on this machine."],
        [
            "allow-plaintext",
            None,
            "Do without TLS at doors that other machines can reach: anyone may listen.",
        ],
    ]
    optParameters = [
        ["data", "d", "chat-data", "Directory of users.db, passwords.db and messages.db; made if missing."],
        [
            "registration",
            None,
            None,
            "Who may sign up: open (anyone who reaches a door), invite (whoever has an invitation of"
            " chatctl invite) or closed (nobody)."
            " [default: open while every door is on loopback or a UNIX socket without --web-proxy, else"
            " invite]",
        ],
        ["certificate", None, None, "File with the server's certificate and its chain, as PEM, for TLS."],
        ["key", None, None, "File with the key of --certificate, as PEM."],
        ["password-key", None, None, "File with the key of passwords.db, if that is to be encrypted."],
        ["bcrypt-rounds", None, "12", "Cost of password hashes, 4 to 31; raised hashes follow at login."],
        ["login-timeout", None, "60", "Seconds a login may take."],
        ["token-days", None, "30", "Days for which a token can stand for a password."],
        ["reserve-names", None, "90", "Days for which nobody can take the name of a deleted account."],
        ["expire", None, "0", "Days after which a message that nobody collected comes back; 0: it waits."],
        ["messages-per-second", None, "1000", "Messages an account may send in the long run; 0: any number."],
        [
            "bytes-per-second",
            None,
            "1048576",
            "Bytes of bodies an account may send in the long run; 0: any. At once, of both, a minute's.",
        ],
        ["connections", None, "20000", "Connections at a time; 0: as many as the system lets it have."],
        [
            "connections-per-address",
            None,
            "1000",
            "Connections at a time from one IPv4 address or IPv6 /64, loopback excepted; 0: any.",
        ],
        ["mailbox-limit", None, "0", "Messages that may wait for one account before more come back; 0: any."],
        ["fold", None, "0", "Days after which a removed message is only counted; 0: it stays listed."],
        [
            "reserve-space",
            None,
            None,
            "MiB to keep free on the disk: below it new messages and accounts are refused, while what is"
            " there is still delivered and removed. [default: a twentieth of the disk, 8 to 256]",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["doors"] = []
        self["web-origins"] = []
        self["web-proxies"] = []

    def opt_text(self, endpoint: str) -> None:
        """Open a door for people with telnet or nc here."""
        self["doors"].append(("text", endpoint))

    def opt_json(self, endpoint: str) -> None:
        """Open a door for programs here: one JSON object a line."""
        self["doors"].append(("json", endpoint))

    def opt_der(self, endpoint: str) -> None:
        """Open a door for programs here: ASN.1 DER."""
        self["doors"].append(("der", endpoint))

    def opt_web(self, endpoint: str) -> None:
        """Open a door for browsers, and for programs that speak HTTP, here."""
        self["doors"].append((WEB, endpoint))

    def opt_web_origin(self, origin: str) -> None:
        """Let this page of another server (as https://chat.example) talk to the web door."""
        self["web-origins"].append(origin)

    def opt_web_proxy(self, proxy: str) -> None:
        """Believe the proxy at this address (or network, or unix) whom it asks for: X-Forwarded-For."""
        self["web-proxies"].append(proxy)

    def postOptions(self) -> None:
        """Check every value.

        @raise usage.UsageError: what is wrong, and what would be right.
        """
        self["bcrypt-rounds"] = _number(self, "bcrypt-rounds", int, 4, 31)
        self["login-timeout"] = _number(self, "login-timeout", float, 0.1, 86400)
        self["token-days"] = _number(self, "token-days", float, 0.001, 36500)
        self["reserve-names"] = _number(self, "reserve-names", float, 0, 36500)
        if self["reserve-space"] is not None:
            self["reserve-space"] = int(_number(self, "reserve-space", float, 0, 2**40) * MIB)
        self["expire"] = _number(self, "expire", float, 0, 36500)
        self["mailbox-limit"] = _number(self, "mailbox-limit", int, 0, 2**40)
        self["messages-per-second"] = _number(self, "messages-per-second", float, 0, 2**40)
        self["bytes-per-second"] = _number(self, "bytes-per-second", float, 0, 2**40)
        self["connections"] = _number(self, "connections", int, 0, 2**31)
        self["connections-per-address"] = _number(self, "connections-per-address", int, 0, 2**31)
        self["fold"] = _number(self, "fold", float, 0, 36500)
        if (self["certificate"] is None) != (self["key"] is None):
            raise usage.UsageError("--certificate and --key are given together or not at all.")
        if self["tls"] and self["allow-plaintext"]:
            raise usage.UsageError("--tls and --allow-plaintext contradict each other: give one of them.")
        if self["registration"] is not None:
            try:
                self["registration"] = Registration(self["registration"])
            except ValueError:
                *others, last = (mode.value for mode in Registration)
                raise usage.UsageError(f"--registration is {', '.join(others)} or {last}.") from None


def makeService(options: Options) -> ChatService:
    """The server that these options ask for."""
    from twisted.internet import reactor

    settings = Settings(
        data=Path(options["data"]),
        doors=tuple(options["doors"]) or DEFAULT_DOORS,
        web_origins=tuple(options["web-origins"]),
        web_proxies=tuple(options["web-proxies"]),
        metrics_open=bool(options["metrics-open"]),
        registration=options["registration"],
        bcrypt_rounds=options["bcrypt-rounds"],
        login_timeout=options["login-timeout"],
        token_days=options["token-days"],
        reserve_names=options["reserve-names"],
        reserve_space=options["reserve-space"],
        expire=options["expire"],
        mailbox_limit=options["mailbox-limit"],
        messages_per_second=options["messages-per-second"],
        bytes_per_second=options["bytes-per-second"],
        connections=options["connections"],
        connections_per_address=options["connections-per-address"],
        fold=options["fold"],
        password_key=found(None if options["password-key"] is None else Path(options["password-key"])),
        tls=bool(options["tls"]),
        allow_plaintext=bool(options["allow-plaintext"]),
        certificate=_pair(options),
    )
    reactor.addSystemEventTrigger("after", "startup", _spare_the_collector)
    reactor.addSystemEventTrigger("after", "startup", stop_once, reactor)
    try:
        return ChatService(reactor, settings, Rights.asked(getattr(options, "parent", None)))
    except StartError as error:
        raise SystemExit(f"chat: {error}") from None
    except ValueError as error:
        raise SystemExit(f"chat: {error}: see twistd chat --help") from None


def _pair(options: Options) -> Pair | None:
    if options["certificate"] is None:
        return None
    # In full: a server in the background is in another folder.
    return Pair(Path(options["certificate"]).absolute(), Path(options["key"]).absolute())


def _spare_the_collector() -> None:
    """What is here when the server starts stays: it need not be looked through for garbage again.

    What a message is made of is in no cycle; it goes without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _number(options: Options, name: str, kind: type, least: float, most: float) -> float:
    try:
        value: float = kind(options[name])
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise usage.UsageError(f"--{name} is a number from {least:g} to {most:g}.")
    return value
