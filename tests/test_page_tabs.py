"""The web page in several tabs and on several devices: none undoes what another does."""

from __future__ import annotations

from tests.browser import Cable, address, retry
from tests.page import DOORS, PageTestCase

#: From now on nothing that this tab says gets out.
_GAG = "() => { WebSocket.prototype.send = () => {}; }"
#: Does this with the key of each message that is kept until it is sent.
_EACH = "() => {{ for (const key of Object.keys(localStorage)) if (key.includes(':out:')) {}; }}"


class TabsTests(PageTestCase):
    """Two tabs of one account have one list of what is not sent yet."""

    def test_unsent(self) -> None:
        """What is written in one tab is seen, sent, guarded and asked for in the other."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        cable = Cable(self, address(self.daemon))
        alice = self.browser.window(self, cable.address)
        alice.log_in("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        alice.write_to("bob")
        other = alice.tab("#to=bob")
        other.wait_for_selector("#talk-empty")

        cable.mute()  # the other tab's message arrives, but it is not told so
        other.fill("#body", "One.")
        other.press("#body", "Enter")
        self.assertEqual(bob.next()["body"], "One.")
        alice.see(".message .fate", "Sending…")
        self.assertEqual(alice.page.locator("[data-act=undo]").count(), 0)

        cable.cut()
        other.wait_for_selector("#status >> text=No connection")
        other.fill("#body", "Two.")
        other.press("#body", "Enter")
        other.fill("#body", "Not finished")
        alice.see(".message .body", "Two.")
        retry(lambda: bool(alice.keeps(":draft:")), alice.page)
        alice.page.click("#self")
        alice.page.click("#log-out")
        alice.see("#ask-text", "2 messages that you wrote are not sent yet")
        alice.see("#ask-text", "what you were writing to bob")
        alice.page.click("#ask button[value=no]")
        self.assertEqual(len(alice.keeps(":out:")), 2)

        other.evaluate(_GAG)
        cable.mend()
        alice.nudge()
        retry(lambda: not alice.keeps(":out:"), alice.page)
        other.fill("#body", "Three.")
        other.press("#body", "Enter")
        other.close()
        retry(lambda: not alice.keeps(":out:"), alice.page)
        self.assertEqual(self.mailbox(bob), ["One.", "Two.", "Three."])

    def test_takenBack(self) -> None:
        """What is being sent, or was sent or taken back, in another tab cannot be taken back in this one."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        alice = self.window("alice")
        alice.page.evaluate(_GAG)
        alice.write_to("bob")
        alice.say("One.")
        alice.say("Two.")
        alice.see(".message .body", "Two.")
        second = alice.page.locator(".message", has_text="Two.")
        other = alice.context.new_page()
        other.goto(f"{alice.address}health")
        other.evaluate(_EACH.format("navigator.locks.request(key, () => new Promise(() => {}))"))
        second.hover()
        alice.page.click("[data-act=undo]")
        alice.see("#toast", "It is being sent just now")
        other.close()
        alice.page.evaluate(_EACH.format("localStorage.removeItem(key)"))
        alice.page.click("[data-act=undo]")
        alice.see("#toast", "not kept here any more")
        self.assertEqual(alice.page.input_value("#body"), "")
        alice.page.wait_for_selector(".message", state="detached")

    def test_names(self) -> None:
        """An account sees nothing, and throws nothing away, of another whose name begins like its own."""
        self.daemon.start(*DOORS)
        for name in ("a", "a:b", "bob"):
            self.daemon.user(name)
        window = self.window("a:b")
        retry(lambda: bool(window.keeps(":login")), window.page)
        window.page.evaluate(_GAG)
        window.write_to("bob")
        window.say("From a:b.")
        window.page.fill("#body", "Not finished")
        retry(lambda: bool(window.keeps(":draft:")), window.page)
        window.page.evaluate(
            "() => localStorage.removeItem(Object.keys(localStorage).find((key) => key.endsWith(':login')))"
        )
        window.page.goto("about:blank")
        window.page.goto(window.address)
        window.log_in("a")
        window.see("#self-name", "a")
        window.see("#people-none")
        window.write_to("bob")
        self.assertEqual(window.bubbles(), [])
        window.page.click("#self")
        window.page.click("#log-out")
        window.see("#door-notice", "logged out")
        self.assertEqual((len(window.keeps(":out:")), len(window.keeps(":draft:"))), (1, 1))


class DevicesTests(PageTestCase):
    """What another device does while this one has no connection is known when it is back."""

    def test_meanwhile(self) -> None:
        """The fate of an old message is told, and what was deleted elsewhere goes."""
        self.daemon.start(*DOORS)
        bob, carol, dave, eve = (self.daemon.user(name) for name in ("bob", "carol", "dave", "eve"))
        bob.hang_up()
        phone = self.daemon.user("alice")
        eve.send("alice", "Delete me, too, though I lie deep.")
        deep = phone.next()["id"]
        for number in range(61):
            dave.send("alice", f"Above {number}")
        above = [phone.next()["id"] for _ in range(61)]
        carol.send("alice", "Keep me.")
        phone.send("bob", "Long ago.")
        for number in range(61):
            phone.send("carol", f"Number {number}")
        accepted = 0
        while accepted < 62:
            accepted += phone.next().get("keyword") == "accepted"
        cable = Cable(self, address(self.daemon))
        alice = self.browser.window(self, cable.address)
        alice.log_in("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        alice.see("#people .name", "dave")
        alice.see("#people .name", "eve")
        alice.open("bob")
        alice.see(".fate", "Waiting")
        cable.cut()
        alice.see("#status", "No connection")
        phone.system("delete", ids=[deep, *above])
        bob = self.daemon.user("bob")
        bob.received(bob.next()["id"])
        cable.mend()
        alice.nudge()
        alice.see(".fate", "Delivered")
        for gone in ("dave", "eve"):
            alice.page.wait_for_selector(f"#people .name >> text={gone}", state="detached")
        alice.see("#people .name", "carol")

    def test_seenFromElsewhere(self) -> None:
        """What was deleted with another device, however old, goes when one comes back to the window."""
        self.daemon.start(*DOORS)
        bob, carol = self.daemon.user("bob"), self.daemon.user("carol")
        phone = self.daemon.user("alice")
        bob.send("alice", "Delete me, though I lie deep.")
        deep = phone.next()["id"]
        for number in range(61):
            carol.send("alice", f"Above {number}")
        for _ in range(61):
            phone.received(phone.next()["id"])
        alice = self.window("alice")
        alice.see("#people .name", "bob")
        alice.see("#people .name", "carol")
        phone.system("delete", ids=[deep])
        phone.expect("deleted")
        alice.page.evaluate("() => { document.dispatchEvent(new Event('visibilitychange')); }")
        alice.page.wait_for_selector("#people .name >> text=bob", state="detached")

    def test_loggedOutElsewhere(self) -> None:
        """Who logs out on all devices is out on all of them, and what was not sent there is kept."""
        self.daemon.start(*DOORS)
        self.daemon.user("bob")
        self.daemon.user("alice")
        lost, mine = self.window("alice"), self.window("alice")
        retry(lambda: bool(lost.keeps(":login")), lost.page)
        lost.page.evaluate(_GAG)
        lost.write_to("bob")
        lost.say("Not sent.")
        lost.see(".fate.kept")
        mine.page.click("#self")
        mine.page.click("#log-out-all")
        mine.see("#door-notice", "logged out")
        lost.see("#login-form")
        lost.page.wait_for_selector("#self-name", state="hidden")
        self.assertEqual((lost.keeps(":login"), len(lost.keeps(":out:"))), ([], 1))
