"""The web page in another browser: the same people, the same accidents."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.browser import FAULTS, Cable, address, axe
from tests.daemon import Daemon, password
from tests.firefox import Firefox
from tests.page import DOORS


class FirefoxTests(SynchronousTestCase):
    """Headless Firefox, where there is one."""

    def test_talk(self) -> None:
        """Two people talk; one is cut off, writes, reloads and comes back: what was written arrives once."""
        firefox = Firefox(self)
        daemon = Daemon(self)
        daemon.start(*DOORS)
        for name in ("alice", "bob"):
            daemon.user(name).hang_up()
        cable = Cable(self, address(daemon))
        alice, bob = firefox.window(cable.address), firefox.window(address(daemon))
        for window, name in ((alice, "alice"), (bob, "bob")):
            window.fill("#login-form [name=name]", name)
            window.press("Tab", *password(name), "Enter")
            window.see("#self-name", name)

        alice.click("a[aria-label='New message']")
        alice.fill("#new-name", "bob")
        alice.press("Enter")
        alice.fill("#body", "At noon?")
        alice.press("Enter")
        bob.see("#people .badge", "1")
        bob.press("/", "ArrowDown", "Enter")
        bob.see(".message.theirs .body", "At noon?")
        alice.see(".message.mine .fate", "Delivered")
        bob.press(*"Yes,", "Shift+Enter", *"gladly.", "Enter")
        alice.see(".message.theirs .body", "gladly.")

        cable.cut()
        alice.see("#status")
        alice.fill("#body", "Kept.")
        alice.press("Enter")
        alice.see(".message.mine .fate", "Not sent yet")
        cable.mend()
        alice.reload()
        alice.see(".message.mine .fate.delivered", "Delivered")
        bob.see(".message.theirs .body", "Kept.")
        bodies = "[...document.querySelectorAll('#messages .message .body')].map((each) => each.innerText)"
        for window in (alice, bob):
            window.until(f"{bodies}.length >= 3 && !{bodies}.includes('\u2026')")  # all are loaded
            self.assertEqual(window.evaluate(bodies), ["At noon?", "Yes,\ngladly.", "Kept."])
            self.assertEqual(window.evaluate(f"(async () => {{ {axe()}; return ({FAULTS})(); }})()"), [])
        daemon.stop()
        self.assertEqual(daemon.traceback(), "")
