"""The servers that a person has decided to trust: a file with a line for each."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from filelock import FileLock, Timeout

from chat.client.errors import KnownServersError
from chat.client.places import Homeless, settings
from chat.tls.fingerprint import parse

#: In place of a fingerprint: any certificate that the system's authorities vouch for.
AUTHORITIES = "authorities"

_LINE = re.compile(r"(\S+)\s+(\S+)(?:\s.*)?")
_LOCK_SECONDS = 10.0

_BEGINNING = """\
# Chat servers and their certificates, as they were accepted: HOST:PORT, and the SHA-256 fingerprint,
# or the word "authorities" where the system's authorities vouch for it. See: chat trust --help
"""


def known_servers_path() -> Path:
    """Where this user's known servers are written down, whether or not there are any yet.

    @raise KnownServersError: this user has no home.
    """
    try:
        return settings() / "known_servers"
    except Homeless as error:
        raise KnownServersError(
            f"There is no home for the list of known servers; set {error.variable}."
        ) from None


class KnownServers:
    """Which certificate each server had when it was accepted.

    Any number of programs may use the file at the same time, and a person may edit it:
    what it says beside, comments and empty lines, is kept. It is never found half written.
    A line that is not understood makes it useless rather than the server unknown.
    """

    def __init__(self, path: Path | None = None) -> None:
        """
        @param path: the file, which need not exist; by default that of this user.
        """
        self._path = path

    @property
    def path(self) -> Path:
        """The file.

        @raise KnownServersError: this user has no home.
        """
        if self._path is None:
            self._path = known_servers_path()
        return self._path

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Each server and its mark, in the order of the file.

        @raise KnownServersError: the file cannot be read, or a line of it is not understood.
        """
        for number, line in enumerate(self._lines(), 1):
            entry = _entry(line)
            if entry is not None:
                yield entry
            elif line.strip() and not line.lstrip().startswith("#"):
                raise KnownServersError(
                    f"Line {number} of {self.path} is not understood: it should be"
                    " HOST:PORT and SHA256:..., or begin with #."
                )

    def marks(self, address: str) -> list[str]:
        """What this C{HOST:PORT} may show: fingerprints, or L{AUTHORITIES}; empty if it is unknown.

        @raise KnownServersError: as for iterating.
        """
        return [mark for name, mark in self if name == address]

    def learn(self, address: str, mark: str) -> list[str]:
        """Write down a server that is not known yet.

        @return: what it may show now: C{mark} alone; or what another program had
            written down before.
        @raise KnownServersError: the file cannot be read or written.
        """
        with self._alone():
            marks = self.marks(address)
            if not marks:
                self._write([*self._lines(), f"{address} {mark}"])
                marks = [mark]
            return marks

    def replace(self, address: str, mark: str) -> None:
        """Whatever this server had, it has this now.

        @raise KnownServersError: the file cannot be read or written.
        """
        with self._alone():
            self._write([*self._without(address), f"{address} {mark}"])

    def remove(self, address: str) -> bool:
        """Forget a server; whether it was known.

        @raise KnownServersError: the file cannot be read or written.
        """
        with self._alone():
            lines = self._lines()
            left = self._without(address)
            if len(left) < len(lines):
                self._write(left)
            return len(left) < len(lines)

    # --- the file -----------------------------------------------------------------------

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise KnownServersError(f"The known servers in {self.path} cannot be read: {reason}.") from None

    def _without(self, address: str) -> list[str]:
        return [line for line in self._lines() if (_entry(line) or ("",))[0] != address]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else writes meanwhile."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", timeout=_LOCK_SECONDS, mode=0o600):
                yield
        except Timeout:
            raise KnownServersError(f"Another program keeps {self.path} locked.") from None
        except OSError as error:
            raise KnownServersError(f"{self.path} cannot be written: {error.strerror}.") from None

    def _write(self, lines: list[str]) -> None:
        # Where the file is a link, into a folder of settings for many machines say, it stays one.
        target = os.path.realpath(self.path)
        text = "".join(f"{line}\n" for line in lines)
        if not os.path.exists(target):
            text = _BEGINNING + text
        descriptor, name = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".known_servers-")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def _entry(line: str) -> tuple[str, str] | None:
    """The server and its mark, if the line says such."""
    match = _LINE.fullmatch(line.strip())
    if match is None or line.lstrip().startswith("#"):
        return None
    address, mark = match[1].lower(), match[2]
    if mark.lower() == AUTHORITIES:
        return address, AUTHORITIES
    try:
        return address, parse(mark)
    except ValueError:
        return None
