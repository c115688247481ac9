"""What TLS costs: the same load on the same server, through a plain door and an encrypted one.

    python -m bench.tls

The server's own certificate (P-256), and one with an RSA key made for the occasion.  Messages
as in L{bench.run}; a connection is one client that connects, logs in and hangs up.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import load
from bench.run import BARE, CHAT, Figures, Server, chat_server, make_room, started
from bench.scratch import measured


def certificate(folder: Path) -> tuple[Path, Path]:
    """A new RSA key, and a certificate that it has signed itself: for TLS, not for trust."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    private, public = folder / "rsa-key.pem", folder / "rsa-certificate.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    private.chmod(0o600)
    public.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return private, public


def doors(folder: Path) -> Iterator[tuple[str, list[str], load.Connect, Path]]:
    """Each server's name, its command, how to connect to it, and where its files are."""
    yield CHAT, chat_server(folder / "plain", "json"), load.plain, folder / "plain"
    private, public = certificate(folder)
    for kind, more in (("ec", []), ("rsa", ["--certificate", str(public), "--key", str(private)])):
        data = folder / f"tls-{kind}"
        yield f"{CHAT}, TLS ({kind})", [*chat_server(data, "json"), "--tls", *more], load.Encrypted, data


def measure(folder: Path, options: argparse.Namespace, figures: Figures) -> None:
    """One run of everything."""
    with ExitStack() as stack:
        servers = [stack.enter_context(started(BARE, folder / "bare"))]
        servers += [
            stack.enter_context(started(name, data, command=command, connect=connect))
            for name, command, connect, data in doors(folder)
        ]
        crowds = [(server, load.Crowd(server.target, options.senders)) for server in servers]
        for _, crowd in crowds:
            crowd.pipelined(min(100, options.messages), 20)
        for in_flight, share in ((100, 1.0), (20, 1.0), (1, 0.15)):
            for server, crowd in crowds:
                each = max(1, int(options.messages * share))
                note(figures, f"{in_flight} in flight", server, crowd.pipelined(each, in_flight))
        for _, crowd in crowds:
            crowd.check()
            crowd.close()
        for server in servers:
            note(figures, "connection and login", server, connections(server, options.connections))


def note(figures: Figures, scenario: str, server: Server, result: load.Result) -> None:
    """Keep a result, and tell it."""
    figures.add_result(scenario, server.name, result)
    print(f"  {scenario}, {server.name}: {load.describe(result)}", file=sys.stderr, flush=True)


def connections(server: Server, count: int) -> load.Result:
    """So many clients connect, log in and hang up; their accounts were there before."""
    load.sign_up(server.target, count)
    watch = load.Stopwatch(server.pid)
    load.sign_up(server.target, count)
    return watch.stop(count + count // 5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 1 when a server failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description="What TLS costs.")
    add = parser.add_argument
    add("--runs", type=int, default=3, help="the figures are medians of so many (%(default)s)")
    add("--senders", type=int, default=50, help="and as many recipients (%(default)s)")
    add("--messages", type=int, default=1000, help="for each sender (%(default)s)")
    add("--connections", type=int, default=500, help="to open and close (%(default)s)")
    add("--data", type=Path, help="make the files below this folder (a temporary one)")
    add("--json", type=Path, help="write every single value to this file")
    options = parser.parse_args(arguments)
    figures = Figures()

    def attempt(folder: Path) -> None:
        for number in range(options.runs):
            print(f"run {number + 1}", file=sys.stderr, flush=True)
            (folder / str(number)).mkdir()
            measure(folder / str(number), options, figures)
        print(figures.table())
        if options.json:
            options.json.write_text(figures.dump() + "\n")

    return measured("bench.tls", options.data, attempt)


if __name__ == "__main__":
    make_room()
    raise SystemExit(main())
