"""A test of the web page: a browser, and a daemon that is not started yet."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.browser import Browser, Window, address
from tests.daemon import Caller, Daemon

LOOPBACK = "tcp:0:interface=127.0.0.1"
DOORS = ("--web", LOOPBACK, "--json", LOOPBACK)


class PageTestCase(SynchronousTestCase):
    """A test with a browser, and a daemon that is not started yet."""

    def setUp(self) -> None:
        """Have both."""
        self.browser = Browser.shared()
        self.daemon = Daemon(self)

    def tearDown(self) -> None:
        """Whatever happened, the server has no defect to tell of."""
        self.assertEqual(self.daemon.traceback(), "")

    def window(self, name: str = "", fragment: str = "", **options: Any) -> Window:
        """A window on the page, in which this person, who has an account, logs in."""
        window = self.browser.window(self, address(self.daemon) + fragment, **options)
        if name:
            window.log_in(name)
            window.see("#self-name", name)
        return window

    def mailbox(self, caller: Caller) -> list[str]:
        """The bodies of all that somebody has in the mailbox."""
        caller.system("list", box="inbox")
        while (listing := caller.next()).get("keyword") != "listing":
            pass
        if not listing["messages"]:
            return []
        caller.system("read", ids=[entry["id"] for entry in listing["messages"]])
        while (answer := caller.next()).get("keyword") != "messages":
            pass
        return [message["body"] for message in answer["messages"]]
