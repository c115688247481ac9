"""The rights that the server keeps, without giving any up: what would be done is written down.

The real thing is in L{tests.test_chroot}, for which one has to be root.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Any

from twisted.internet import tcp
from twisted.trial.unittest import SynchronousTestCase

from chat import rights
from chat.errors import StartError
from chat.rights import Rights, User


class RightsTests(SynchronousTestCase):
    """C{--chroot}, C{--uid} and C{--gid} of C{twistd}."""

    skip = "there is no such thing on Windows" if sys.platform == "win32" else None

    def setUp(self) -> None:
        """Pretend to be root, and write down what root would do."""
        self.done: list[tuple[Any, ...]] = []
        self.patch(os, "geteuid", lambda: 0)
        for name in ("chroot", "chdir", "setgroups", "setgid", "setresuid", "seteuid"):
            self.patch(os, name, lambda *words, name=name: self.done.append((name, *words)))
        self.patch(tcp, "_reservedFD", tcp._reservedFD)
        self.jail = Path(self.mktemp()).resolve()
        self.jail.mkdir()

    def options(self, **given: Any) -> dict[str, Any]:
        """The options of C{twistd}, with these given."""
        pid_file = os.path.abspath("twistd.pid")
        options = {"chroot": None, "uid": None, "gid": None, "euid": 0, "rundir": ".", "pidfile": pid_file}
        return {**options, **given}

    def assertRefused(self, part: str, **given: Any) -> None:
        """With these options there is no start, for this reason; and nothing was done."""
        options = self.options(**given)
        before = dict(options)
        self.assertIn(part, str(self.assertRaises(ValueError, Rights.asked, options)))
        self.assertEqual((options, self.done), (before, []))

    def test_nothingAsked(self) -> None:
        """Without these options, or under another runner, nothing is done."""
        for runner in (None, {}, self.options()):
            asked = Rights.asked(runner)
            asked.lower(self.jail / "nowhere")
            with asked.for_port():
                pass
            asked.give_up()
            self.assertEqual(str(asked), "the user who started it")
        self.assertEqual(self.done, [])

    def test_order(self) -> None:
        """First the jail, then the groups, then the user; root for a port; then never again."""
        options = self.options(chroot=str(self.jail), uid=1 << 20, gid=7)
        asked = Rights.asked(options)
        self.assertEqual(
            {name: options[name] for name in ("chroot", "uid", "gid", "pidfile")},
            {"chroot": None, "uid": None, "gid": None, "pidfile": ""},
        )
        self.patch(rights.Rights, "_write_pid", lambda self, name: options.update(pidfile=name))
        asked.lower(self.jail)
        self.assertEqual(options["pidfile"], "/twistd.pid")
        self.assertEqual(str(asked), f"user {1 << 20}, group 7, in {self.jail}")
        with asked.for_port():
            self.done.append(("port",))
        asked.give_up()
        user = 1 << 20
        self.assertEqual(
            self.done,
            [
                ("chroot", self.jail),
                ("chdir", "/"),
                ("setgroups", (7,)),
                ("setgid", 7),
                ("setresuid", user, user, 0),
                ("seteuid", 0),
                ("port",),
                ("seteuid", user),
                ("setresuid", user, user, user),
            ],
        )

    def test_portThatFails(self) -> None:
        """Root is gone again, too, when the port could not be opened."""
        asked = Rights(None, User(5, 6, (6,)))
        with self.assertRaises(OSError), asked.for_port():
            raise OSError
        self.assertEqual(self.done, [("seteuid", 0), ("seteuid", 5)])

    def test_groupsOfUser(self) -> None:
        """A user whom the system knows has all groups the system says; C{--gid} names the first."""
        somebody = pwd.struct_passwd(("somebody", "x", 5, 6, "", "/", "/bin/sh"))
        self.patch(pwd, "getpwuid", lambda uid: somebody)
        self.patch(os, "getgrouplist", lambda name, group: [group, 80])
        for gid, groups in ((None, (6, 80)), (9, (9, 80))):
            asked = Rights.asked(self.options(uid=5, gid=gid))
            self.assertEqual(asked.user, User(5, groups[0], groups))
            self.assertEqual(str(asked), f"user 5, group {groups[0]}")

    def test_folderInJail(self) -> None:
        """C{--rundir} is a folder in the jail, as with C{twistd} alone; so the data are found from there."""
        options = self.options(chroot=str(self.jail), uid=1 << 20, gid=7, rundir="mail", pidfile="")
        asked = Rights.asked(options)
        self.assertEqual(options["rundir"], ".")
        asked.lower(self.jail)
        self.assertEqual(self.done[:2], [("chroot", self.jail), ("chdir", "/mail")])
        self.assertEqual(asked.outside(Path("data")), self.jail / "mail" / "data")
        self.assertEqual(asked.outside(Path("/data")), self.jail / "data")
        self.assertEqual(options["pidfile"], "")

    def test_spareDescriptor(self) -> None:
        """Twisted gets the descriptor that it spares where there is no C{/dev/null}."""
        Rights.asked(self.options(chroot=str(self.jail), uid=1 << 20, gid=7))
        self.patch(os, "devnull", "/nowhere/null")
        spare = tcp._reservedFD
        spare.reserve()
        self.assertTrue(spare.available())
        with spare:
            self.assertFalse(spare.available())
        self.assertTrue(spare.available())

    def test_refused(self) -> None:
        """What cannot be meant is refused, and C{twistd} would have nothing to do, either."""
        jail, uid, gid = str(self.jail), 1 << 20, 7
        self.assertRefused("nowhere is no directory", chroot="nowhere", uid=uid, gid=gid)
        self.assertRefused("name another user with --uid", chroot=jail)
        self.assertRefused("name another user with --uid", uid=0, gid=gid)
        self.assertRefused("name its group, too, with --gid", uid=uid)
        self.assertRefused("--euid keeps root's rights within reach", uid=uid, gid=gid, euid=1)
        self.assertRefused("is outside of --chroot", chroot=jail, uid=uid, gid=gid, pidfile="/run/pid")

    def test_otherSystems(self) -> None:
        """Where a process cannot keep a right in reserve, the operator is told what to do instead."""
        setresuid = os.setresuid
        self.addCleanup(setattr, os, "setresuid", setresuid)
        del os.setresuid
        self.assertRefused("start it as the user that it is to be", uid=1 << 20, gid=7)

    def test_notRoot(self) -> None:
        """Who is not root cannot become another; who is that user already need not."""
        self.patch(os, "geteuid", lambda: 5)
        self.patch(os, "getuid", lambda: 5)
        self.patch(os, "getgid", lambda: 6)
        self.assertRefused("only root can use", chroot=str(self.jail))
        self.assertRefused("only root can use", uid=7)
        self.assertRefused("only root can use", uid=5, gid=7)
        self.assertIsNone(Rights.asked(self.options(uid=5, gid=6)).user)

    def test_cannotLower(self) -> None:
        """Where root may not do it, in a container for example, the operator is told so."""

        def refuse(*words: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "setgroups", refuse)
        error = self.assertRaises(StartError, Rights(self.jail, User(5, 6, (6,))).lower, self.jail)
        self.assertEqual(
            str(error),
            f"The server cannot become user 5 in {self.jail} (Operation not permitted):"
            " start it as root, with all of root's capabilities.",
        )

    def test_pidFile(self) -> None:
        """The pid file holds the process id; one that cannot be written is named."""
        options = self.options(chroot=str(self.jail), uid=1 << 20, gid=7)
        asked = Rights.asked(options)
        asked._write_pid(str(self.jail / "pid"))
        self.assertEqual((self.jail / "pid").read_text(), str(os.getpid()))
        self.assertEqual(options["pidfile"], str(self.jail / "pid"))
        error = self.assertRaises(StartError, asked._write_pid, str(self.jail / "none" / "pid"))
        self.assertIn("none/pid cannot be written (No such file or directory): name one", str(error))
