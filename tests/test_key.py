"""Tests for L{chat.store.key}: a key is read only where nobody else can, and shown nowhere."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.errors import StartError
from chat.store.key import BYTES, CREDENTIAL, CREDENTIALS, Key, create, found, read
from tests.town import called

SECRET = bytes(range(BYTES))


class KeyCase(SynchronousTestCase):
    """A place for keys, and a data directory elsewhere."""

    def setUp(self) -> None:
        """There is no key yet, and no systemd."""
        self.patch(os, "environ", {name: value for name, value in os.environ.items() if name != CREDENTIALS})
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / "key"
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def write(self, content: str | bytes, mode: int = 0o600) -> None:
        """A key file."""
        self.file.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.file.chmod(mode)

    def assertRefused(self, *words: str) -> str:
        """The key is refused in one line with these words, and with nothing of what is in the file."""
        error = self.assertRaises(StartError, read, self.file, self.directory)
        for word in words:
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))
        return str(error)


class ReadTests(KeyCase):
    """What is taken for a key, and what is not."""

    def test_digits(self) -> None:
        """Hexadecimal digits, as openssl writes them; large or small, with or without a newline."""
        phrases = set()
        for content in (SECRET.hex(), SECRET.hex().upper() + "\n", f"{SECRET.hex()}\r\n"):
            self.write(content)
            phrases.add(read(self.file, self.directory).phrase())
        self.assertEqual(len(phrases), 1)
        self.assertRegex(phrases.pop(), r"\Ax'[0-9a-f]{64}'\Z")

    def test_longer(self) -> None:
        """A longer key is another one, and all of it counts."""
        first = Key(SECRET + b"1")
        self.assertEqual(len(first.phrase()), len(Key(SECRET).phrase()))
        self.assertEqual(len({Key(SECRET).phrase(), first.phrase(), Key(SECRET + b"2").phrase()}), 3)

    def test_derived(self) -> None:
        """What SQLCipher is given is not what the file holds: the file is of use to nothing else."""
        self.assertNotIn(SECRET.hex(), Key(SECRET).phrase())

    def test_created(self) -> None:
        """What C{chatctl} makes is a key, for its owner alone, and another one each time."""
        other = self.folder / "other"
        for file in (self.file, other):
            status, out, err = called("new-password-key", str(file))
            self.assertEqual((status, err), (0, ""))
            self.assertIn(str(file), out)
            self.assertNotIn(file.read_text().strip(), out)
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertNotEqual(read(self.file, self.directory).phrase(), read(other, self.directory).phrase())

    def test_notWrittenOver(self) -> None:
        """A key that is there is never written over: what it has encrypted would be lost."""
        create(self.file)
        before = self.file.read_bytes()
        status, out, err = called("new-password-key", str(self.file))
        self.assertEqual((status, out, err.count("\n")), (2, "", 1))
        self.assertIn("File exists", err)
        self.assertEqual(self.file.read_bytes(), before)

    def test_noKey(self) -> None:
        """What is no key is refused, with the way to make one and without its content."""
        for content in (b"hunter2 hunter2", SECRET, b"\xff" * 64, "é" * 64, SECRET.hex() + "g"):
            self.write(content)
            text = self.assertRefused("hexadecimal digits", "chatctl new-password-key", str(self.file))
            self.assertNotIn("hunter2", text)
            self.assertNotIn(SECRET.hex(), text)
        self.write("0a" * 3000)
        self.assertRefused("hexadecimal digits")

    def test_tooEasy(self) -> None:
        """Too short, or a pattern: somebody could try it out."""
        for content in ("", "\n", SECRET.hex()[:-2], "00" * 32, "deadbeef" * 16):
            self.write(content)
            self.assertRefused("too easy to guess", "chatctl new-password-key")

    def test_missing(self) -> None:
        """A key that is not there is no reason to go on without."""
        self.assertRefused("cannot be read (No such file", str(self.file), "--password-key")
        self.file.mkdir()
        self.assertRefused("cannot be read (Is a directory")

    def test_roundAndRound(self) -> None:
        """A link that leads to itself leads to no key."""
        self.file.symlink_to(self.file.name)
        self.assertRefused("cannot be read (Too many levels of symbolic links)", str(self.file))

    def test_openToOthers(self) -> None:
        """A key that others can read, or could replace, is refused with the very command that helps."""
        for mode in (0o640, 0o604, 0o660, 0o620):
            self.write(SECRET.hex(), mode)
            self.assertRefused(f"mode {mode:04o}", f"chmod 600 {self.file}")
        for mode in (0o600, 0o400):
            self.write(SECRET.hex(), mode)
            read(self.file, self.directory)

    def test_besideTheData(self) -> None:
        """A key in the data directory goes wherever the data goes."""
        self.file = self.directory / "deep" / "key"
        self.file.parent.mkdir()
        self.write(SECRET.hex())
        self.assertRefused("in the data directory", "elsewhere")
        link = self.folder / "link"
        link.symlink_to(self.file.absolute())
        self.file = link
        self.assertRefused("in the data directory")

    def test_pipe(self) -> None:
        """A key may come from another program: it need not be on a disk."""
        out, into = os.pipe()
        os.write(into, SECRET.hex().encode())
        os.close(into)
        self.addCleanup(os.close, out)
        self.assertEqual(read(Path(f"/dev/fd/{out}"), self.directory).phrase(), Key(SECRET).phrase())


class CredentialTests(KeyCase):
    """Under systemd the key can be a credential."""

    def setUp(self) -> None:
        """systemd has said where its credentials are."""
        super().setUp()
        os.environ[CREDENTIALS] = str(self.folder)
        self.file = self.folder / CREDENTIAL

    def test_found(self) -> None:
        """It is taken where no key is named; where one is, that counts."""
        self.assertEqual(found(None), None)
        self.write(SECRET.hex())
        self.assertEqual(found(None), self.file)
        self.assertEqual(found(Path("other")), Path("other"))
        del os.environ[CREDENTIALS]
        self.assertEqual(found(None), None)

    def test_outOfReach(self) -> None:
        """A credential that cannot be got at is not taken for none: nothing goes on without it."""
        self.file.symlink_to("nothing")
        self.assertEqual(found(None), self.file)
        self.assertRefused("cannot be read")
        os.environ[CREDENTIALS] = str(self.folder / "file")
        (self.folder / "file").touch()
        self.assertEqual(found(None), self.folder / "file" / CREDENTIAL)

    def test_accessList(self) -> None:
        """What systemd's access lists grant looks like rights of the group, and is no reason to refuse it."""
        self.write(SECRET.hex(), 0o440)
        self.assertEqual(read(self.file, self.directory).phrase(), Key(SECRET).phrase())
        del os.environ[CREDENTIALS]
        self.assertRefused("mode 0440")


class SecretTests(KeyCase):
    """A key is not told by accident."""

    def test_notShown(self) -> None:
        """Neither by its text, nor by that of what holds it, nor in a traceback with all variables."""
        key = Key(SECRET)
        told = [str(key), repr(key), repr([key]), f"{key}"]
        try:
            _fail(key)
        except ZeroDivisionError as error:
            told += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        self.assertIn("Key object", told[-2])
        self.assertNotIn(key.phrase()[2:-1], "".join(told))


def _fail(key: Key) -> None:
    1 / 0  # noqa: B018
