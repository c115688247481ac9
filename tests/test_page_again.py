"""The web page in a real browser: what was not taken, or may have been, is sent again, and arrives once."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.browser import Cable, Window, address, retry
from tests.daemon import free_port
from tests.page import DOORS, LOOPBACK, PageTestCase

if TYPE_CHECKING:
    from playwright.sync_api import WebSocketRoute


class UncertainTests(PageTestCase):
    """A message was on its way when the connection broke: nobody knows whether it arrived."""

    def setUp(self) -> None:
        """Alice has sent one to bob that has arrived, and she does not know it."""
        super().setUp()
        self.daemon.start(*DOORS)
        self.bob = self.daemon.user("bob")
        self.daemon.user("alice")
        self.cable = Cable(self, address(self.daemon))
        self.alice = self.browser.window(self, self.cable.address)
        self.alice.log_in("alice")
        retry(lambda: bool(self.alice.keeps(":login")), self.alice.page)
        self.alice.write_to("bob")
        self.cable.mute()
        self.alice.say("At noon?")
        self.assertEqual(self.bob.next()["body"], "At noon?")
        self.cable.cut()
        self.alice.see(".fate.kept", "Not sent yet")

    def _edit(self) -> None:
        self.alice.page.hover(".message.mine")
        self.alice.page.click("[data-act=undo]")
        self.alice.see("#ask-text", "both may arrive")

    def test_left(self) -> None:
        """Who leaves it as it is has sent it once."""
        self._edit()
        self.alice.page.keyboard.press("Escape")
        self.alice.page.wait_for_selector("#ask", state="hidden")
        self.assertEqual(self.alice.page.input_value("#body"), "")
        self.cable.mend()
        self.alice.nudge()
        self.alice.see(".fate", "Waiting")
        self.assertEqual(self.mailbox(self.bob), ["At noon?"])

    def test_same(self) -> None:
        """Who takes it back, across a reload too, and sends the same text after all has sent it once.

        What was never on its way is given back without a question.
        """
        page = self.alice.page
        self.alice.say("Second.")
        page.locator(".message", has_text="Second.").hover()
        page.locator(".message", has_text="Second.").locator("[data-act=undo]").click()
        retry(lambda: page.input_value("#body") == "Second.", page)
        page.fill("#body", "")
        self._edit()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        retry(lambda: page.input_value("#body") == "At noon?", page)
        self.assertEqual(self.alice.keeps(":out:"), [])
        self.assertEqual(len(self.alice.keeps(":draft:")), 1)  # at once: it is kept nowhere else
        self.cable.mend()
        page.reload()
        retry(lambda: page.input_value("#body") == "At noon?", page)
        page.press("#body", "Enter")
        self.alice.until("document.querySelectorAll('.message').length === 1")
        self.alice.see(".fate", "Waiting")
        self.assertEqual(self.alice.bubbles(), ["At noon?"])
        self.assertEqual(self.mailbox(self.bob), ["At noon?"])
        self.alice.say("At noon?")  # that is another one
        self.alice.until("document.querySelectorAll('.fate.waiting').length === 2")

    def test_changed(self) -> None:
        """Who changes it knows that it is another one."""
        self._edit()
        self.alice.page.click("#ask-yes")
        retry(lambda: self.alice.page.input_value("#body") == "At noon?", self.alice.page)
        self.cable.mend()
        self.alice.nudge()
        self.alice.say("At one?")
        self.alice.until("document.querySelectorAll('.fate.waiting').length === 2")
        self.assertEqual(self.mailbox(self.bob), ["At noon?", "At one?"])


class SlowDownTests(PageTestCase):
    """The server asks to wait: the page says so, and waits."""

    def _alice(self) -> Window:
        self.daemon.user("alice")
        alice = self.window("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        alice.write_to("alice")
        return alice

    def test_server(self) -> None:
        """What is too much for the server's limits is kept and not dropped; what follows waits behind it."""
        doors = ("--web", f"tcp:{free_port()}:interface=127.0.0.1", "--json", LOOPBACK)
        self.daemon.start(*doors, "--messages-per-second", "0.05")
        alice = self._alice()
        for number in range(1, 7):
            alice.say(f"Number {number}.")
        alice.see("#status", "What you wrote is kept, and sent in")
        alice.until("document.querySelectorAll('.fate.kept').length === 2")
        self.daemon.kill()
        self.daemon.start(*doors)
        alice.nudge()
        alice.until("document.querySelectorAll('.fate.delivered').length === 6")
        self.assertEqual(alice.bubbles(), [f"Number {number}." for number in range(1, 7)])

    def test_waits(self) -> None:
        """It sends again by itself, after the time that the server said and not before."""
        self.daemon.start(*DOORS)
        alice = self._alice()
        tries: list[str] = []

        def between(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()

            def say(text: str | bytes) -> None:
                frame = json.loads(text)
                if frame["type"] != "message":
                    server.send(text)
                    return
                tries.append(frame["data"]["ref"])
                if len(tries) > 1:
                    server.send(text)
                    return
                refusal = {
                    "keyword": "failed",
                    "code": "slow-down",
                    "seconds": 60,
                    "reason": "Too many messages at once.",
                    "ref": tries[0],
                }
                socket.send(json.dumps({"type": "system", "data": refusal}) + "\n")

            socket.on_message(say)

        alice.page.route_web_socket("**/socket", between)
        alice.page.clock.install()
        alice.page.reload()
        alice.see("#talk-empty")  # it waits for no other answer, in whose place it would take the refusal
        alice.say("Patience.")
        alice.see("#status", "Too many messages at once. What you wrote is kept, and sent in")
        alice.page.clock.pause_at(alice.page.evaluate("Date.now()") / 1000 + 5)
        alice.page.clock.fast_forward(1_000)
        (left,) = re.findall(r"sent in (\d+) s\.$", alice.page.inner_text("#status-text"))
        self.assertLess(int(left), 60)
        alice.page.clock.fast_forward((int(left) - 5) * 1000)
        alice.see("#status", "sent in 5 s")
        self.assertEqual(len(tries), 1)
        alice.page.clock.fast_forward(5_100)
        alice.page.clock.resume()
        alice.see(".fate", "Delivered")
        alice.page.wait_for_selector("#status", state="hidden")
        self.assertEqual(tries, tries[:1] * 2)
