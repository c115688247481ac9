"""The key of passwords.db: read from a file that nobody else can read, and shown to nobody."""

from __future__ import annotations

import os
import secrets
import stat
from hashlib import blake2b
from pathlib import Path

from chat.errors import StartError

#: What systemd calls the key in a unit (C{LoadCredential=}), and where it says that its credentials are.
CREDENTIAL = "chat-password-key"
CREDENTIALS = "CREDENTIALS_DIRECTORY"
#: How long a key is: too long to be tried out, so nothing slow has to be made of it.
BYTES = 32
#: So many different bytes are in any key that chance has made; words and patterns have fewer.
_DIFFERENT = 12
#: No key file is longer.
_MOST = 4096
#: Sets what is made of the key here apart from what anybody else makes of it.
_PURPOSE = b"chat passwords"
_REMEDY = "make one with chatctl new-password-key FILE"


class Key:
    """What passwords.db is encrypted with; it is not told by C{str}, C{repr} or a traceback."""

    __slots__ = ("_derived",)

    def __init__(self, secret: bytes) -> None:
        """A key from these random bytes, L{BYTES} or more."""
        self._derived = blake2b(secret, digest_size=BYTES, person=_PURPOSE).digest()

    def phrase(self) -> str:
        """The key as SQLCipher takes one that it shall use as it is.

        To be bound to a parameter or given to C{set_key}, never to be written into SQL.
        """
        return f"x'{self._derived.hex()}'"


def found(option: Path | None) -> Path | None:
    """The file that the key is in: the one that was named, or the credential from systemd, or none.

    A credential is none only where there is nothing of its name (there may be others, for TLS); one that
    cannot be got at is for L{read} to refuse.
    """
    folder = os.environ.get(CREDENTIALS)
    if option is not None or not folder:
        return option
    credential = Path(folder, CREDENTIAL)
    try:
        os.lstat(credential)
    except FileNotFoundError:
        return None
    except OSError:
        pass  # it is not known whether it is there
    return credential


def read(file: Path, directory: Path) -> Key:
    """The key in this file.

    @param directory: the data directory, where it must not be.
    @raise StartError: it cannot be read, it is no key, or it is not kept as it should be.
    """
    try:
        if _inside(file, directory):
            raise StartError(
                f"The password key {file} is in the data directory, beside what it locks: whoever steals"
                " one has both. Move it elsewhere."
            )
        with open(file, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(_MOST + 1)
    except OSError as error:
        raise StartError(
            f"The password key {file} cannot be read ({error.strerror}): name it with --password-key,"
            f" or {_REMEDY}."
        ) from None
    if _is_open(mode) and not _from_systemd(file):
        raise StartError(
            f"The password key {file} can be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600 {file}"
        )
    return Key(_secret(content, file))


def create(file: Path) -> None:
    """Write a new key into a new file, which only its owner can read.

    @raise OSError: it cannot be made, or it is there already: no key is ever written over.
    """
    with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as stream:
        stream.write(f"{secrets.token_hex(BYTES)}\n")
        stream.flush()
        os.fsync(stream.fileno())


def _secret(content: bytes, file: Path) -> bytes:
    """What these hexadecimal digits stand for."""
    try:
        secret = bytes.fromhex(content.decode("ascii"))
    except ValueError:  # its text would tell of the key
        secret = None
    if secret is None or len(content) > _MOST:
        raise StartError(
            f"The password key {file} should hold hexadecimal digits, {2 * BYTES} or more: {_REMEDY}."
        )
    if len(secret) < BYTES or len(set(secret)) < _DIFFERENT:
        raise StartError(
            f"The password key {file} is too easy to guess, it should hold {BYTES} random bytes or more as"
            f" hexadecimal digits: {_REMEDY}."
        )
    return secret


def _inside(file: Path, directory: Path) -> bool:
    # Before Python 3.13 Path.resolve raises an error of its own for a link that leads to itself.
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(directory))


def _is_open(mode: int) -> bool:
    """Whether others than the owner have any right to it."""
    return os.name == "posix" and stat.S_ISREG(mode) and bool(mode & 0o077)


def _from_systemd(file: Path) -> bool:
    """Whether systemd watches over it: what its access lists grant looks like rights of the group."""
    folder = os.environ.get(CREDENTIALS)
    return bool(folder) and _inside(file, Path(folder or os.sep))
