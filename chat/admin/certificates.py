"""What C{chatctl check} says of a certificate and its key."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from cryptography import x509

from chat.admin.grade import Grade, Line, Lines
from chat.errors import StartError
from chat.tls.certificate import Identity, Pair, day, exposed, read
from chat.tls.context import context
from chat.tls.credentials import SOON


def looked_over(pair: Pair, now: float) -> tuple[list[Line], str | None]:
    """What there is to say of a certificate and its key, and its fingerprint.

    @param now: the time, in seconds since 1970.
    """
    if pair.made and not pair.certificate.exists():
        if not pair.key.exists():
            return [], None  # none was needed yet
        return [
            Line(Grade.OK, f"{pair.key.name} is there: the next start that needs it makes a certificate")
        ], None
    try:
        identity = read(pair)
        context(identity, ())
    except StartError as error:
        return [Line(Grade.ERROR, str(error).rstrip("."))], None
    lines = [*_described(pair, identity), *_lifetime(pair, identity, now), *_kept(pair)]
    return lines, identity.fingerprint


def _described(pair: Pair, identity: Identity) -> Lines:
    yield Line(Grade.OK, f"TLS certificate {pair.certificate}, for {_names(identity.certificate)}")
    yield Line(Grade.OK, f"fingerprint {identity.fingerprint}")
    yield Line(Grade.OK, f"in words: {identity.words}")


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "nobody in particular"
    hosts = found.get_values_for_type(x509.DNSName)
    return ", ".join([*hosts, *map(str, found.get_values_for_type(x509.IPAddress))]) or "nobody in particular"


def _lifetime(pair: Pair, identity: Identity, now: float) -> Lines:
    left = identity.left(now)
    until = day(identity.expires)
    if left <= timedelta():
        yield Line(
            Grade.ERROR, f"{pair.certificate} expired on {until}: renew it, the server does not start with it"
        )
    elif left < timedelta(days=SOON):
        yield Line(
            Grade.WARNING, f"{pair.certificate} expires on {until}, in {left.days} days: renew it in time"
        )
    elif identity.certificate.not_valid_before_utc > datetime.fromtimestamp(now, timezone.utc):
        begins = day(identity.certificate.not_valid_before_utc)
        yield Line(Grade.WARNING, f"{pair.certificate} is good from {begins} on only: is the clock right?")
    else:
        yield Line(Grade.OK, f"{pair.certificate} is good until {until}")


def _kept(pair: Pair) -> Lines:
    """Whether the key is one that only the server can read."""
    mode = exposed(pair)
    if mode is not None:
        yield Line(
            Grade.WARNING, f"{pair.key} has mode {mode:04o}, others get at the key: make it 0600 (chmod)"
        )
    else:
        yield Line(Grade.OK, f"{pair.key} is kept from others")
