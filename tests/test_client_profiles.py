"""Accounts and servers by a name of one's own."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.client.options import parsed
from chat.client.profiles import ProfileError, Profiles
from chat.client.programs import join, send, talk
from tests.line_case import run_main


class ProfileTests(SynchronousTestCase):
    """Accounts and servers by name."""

    def setUp(self) -> None:
        """A file that is not there yet."""
        self.profiles = Profiles(Path(self.mktemp()).absolute() / "profiles.ini")

    def write(self, text: str) -> None:
        """What a person has written."""
        self.profiles.path.parent.mkdir(parents=True, exist_ok=True)
        self.profiles.path.write_text(text, "utf-8")

    def reason(self, name: str | None) -> str:
        """Why there is no such profile."""
        return str(self.assertRaises(ProfileError, self.profiles.settings, name))

    def test_none(self) -> None:
        """Without a file there is no profile but the default one, which says nothing."""
        self.assertEqual(self.profiles.settings(None), {})
        self.assertEqual(self.profiles.settings("default"), {})
        self.assertEqual(list(self.profiles), [])
        self.assertIn("chat profile work HOST:PORT", self.reason("work"))

    def test_add(self) -> None:
        """What is added is there, below what a person has written."""
        self.write("# mine\n[home]\nserver = home.example\nbell = on\n")
        self.profiles.add("work", {"server": "w.example:1", "user": "al%ice", "stay": True})
        self.assertEqual(self.profiles.settings("home"), {"server": "home.example", "bell": True})
        self.assertEqual(
            self.profiles.settings("work"), {"server": "w.example:1", "user": "al%ice", "stay": True}
        )
        self.assertIn("# mine\n", self.profiles.path.read_text())
        self.assertRaises(ProfileError, self.profiles.add, "work", {})
        self.assertRaises(ProfileError, self.profiles.add, "other", {"user": "a\nplain = yes"})
        self.assertRaises(ProfileError, self.profiles.add, "../x", {})

    def test_no_secrets(self) -> None:
        """A password in it is refused, and not repeated."""
        self.write("[work]\npassword = hunter2\n")
        reason = self.reason("work")
        self.assertIn("password-file", reason)
        self.assertNotIn("hunter2", reason)

    def test_mistakes(self) -> None:
        """What is wrong is named."""
        for text, word in (
            ("[work]\nserwer = x\n", "serwer"),
            ("[work]\nbell = perhaps\n", "yes or no"),
            ("[work]\ncodec = xml\n", "json or der"),
            ("server = x\n", "line 1"),
            ("[work]\nnonsense\n", "line 2"),
            ("[work]\n[work]\n", "line 2"),
        ):
            self.write(text)
            self.assertIn(word, self.reason("work"))
        self.profiles.path.write_bytes(b"[work]\nuser = \xff\n")
        self.assertIn("UTF-8", self.reason("work"))
        self.profiles.path.unlink()
        self.profiles.path.mkdir()
        self.assertIn(str(self.profiles.path), self.reason("work"))
        self.assertRaises(ProfileError, self.profiles.add, "other", {})


class ProfileOptionTests(SynchronousTestCase):
    """Profiles on the command line."""

    run_main = staticmethod(run_main)

    def setUp(self) -> None:
        """A home with nothing in it."""
        self.home = Path(self.mktemp()).absolute()
        names = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA", "HOME")
        environ = {**os.environ, **{name: str(self.home) for name in names}}
        environ.pop("CHAT_PROFILE", None)
        self.patch(os, "environ", environ)

    def test_write_and_list(self) -> None:
        """A profile is written down once, and listed."""
        self.assertIn("no profile yet", self.run_main("profile")[1])
        status, out, _ = self.run_main("profile", "work", "w.example", "-u", "alice", "--stay")
        self.assertEqual((status, "chat --profile work" in out), (0, True))
        self.assertEqual(self.run_main("profile")[1], "work: alice at w.example\n")
        for arguments, word in (
            (["work", "w.example"], "already"),
            (["other"], "which server"),
            (["other", "nonsense"], "HOST:PORT"),
            (["other", "w.example", "--trust", "x"], "words"),
            (["a/b", "w.example"], "letters"),
        ):
            status, _, err = self.run_main("profile", *arguments)
            self.assertEqual((status, word in err), (2, True), err)

    def test_used(self) -> None:
        """What the profile says is taken, unless the command line says something else."""
        path = self.home / "empty"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n")
        self.run_main("profile", "work", "127.0.0.1:99999")
        Profiles().add("home", {"server": "127.0.0.1:0", "user": "alice", "password-file": str(path)})
        Profiles().add("default", {"server": "127.0.0.1:0"})
        for arguments, word in (
            (["-p", "home"], "empty"),
            (["-p", "home", "--password-file", "/nowhere/else"], "/nowhere/else"),
            (["send", "bob", "--profile", "home"], "empty"),
            (["outbox", "--send", "--profile", "home"], "empty"),
            ([], "'127.0.0.1:0'"),
            (["--profile", "wrok"], "home, default"),
        ):
            status, _, err = self.run_main(*arguments)
            self.assertEqual((status, word in err), (2, True), err)
        os.environ["CHAT_PROFILE"] = "home"
        self.assertIn("empty", self.run_main()[2])

    def test_another_server(self) -> None:
        """What a profile says of its own server, its password above all, is not for another one."""
        path = self.home / "password"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n")  # which is told as soon as it is read
        Profiles().add("work", {"server": "w.example:5311", "user": "alice", "password-file": str(path)})
        Profiles().add("anywhere", {"user": "alice", "password-file": str(path)})
        for profile, server, read in (
            ("work", "w.example", True),
            ("work", "tls://W.example:5311", True),
            ("work", "w.example:5312", False),
            ("work", "127.0.0.1:0", False),
            ("anywhere", "127.0.0.1:0", True),
        ):
            for arguments in ([server], ["send", "bob", "--server", server]):
                taken = (send if arguments[0] == "send" else talk).parser()
                options = parsed(taken, [*arguments[arguments[0] == "send" :], "--profile", profile])
                self.assertEqual(options.password_file, str(path) if read else None, arguments)
                self.assertEqual(options.user, "alice")
        options = parsed(join.parser(), ["--profile", "work"])
        self.assertEqual((options.password_file, options.user), (None, "alice"))

    def test_password_file(self) -> None:
        """The password's file is the same one from wherever the profile is used."""
        self.run_main("profile", "work", "w.example", "-u", "alice", "--password-file", "secret")
        self.assertEqual(Profiles().settings("work")["password-file"], os.path.abspath("secret"))
        Profiles().add("home", {"password-file": "~/secret"})
        self.assertEqual(Profiles().settings("home")["password-file"], os.path.expanduser("~/secret"))

    def test_outbox(self) -> None:
        """The outbox of a profile is listed, also when there is nothing in it."""
        self.assertEqual(self.run_main("outbox")[:2], (0, "The outbox is empty.\n"))
        self.assertEqual(self.run_main("outbox", "--drop", "1")[0], 1)

    def test_homeless(self) -> None:
        """Who has no home has no profiles, and is told so."""
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA"):
            os.environ.pop(name)
        self.patch(os.path, "expanduser", lambda path: path)
        for arguments in (["--profile", "work"], ["profile"], ["outbox"]):
            status, _, err = self.run_main(*arguments)
            self.assertEqual((status, "home" in err), (2, True), err)
