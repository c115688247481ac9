"""The web page in several tabs and on several devices: none undoes what another does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.browser import Cable, address, retry
from tests.daemon import password
from tests.page import DOORS, PageTestCase

if TYPE_CHECKING:
    from playwright.sync_api import WebSocketRoute

#: From now on nothing that this tab says gets out.
_GAG = "() => { WebSocket.prototype.send = () => {}; }"
#: Asks for the lock of each message that is kept until it is sent, for good; done when one was to be had.
_HOLD = """() => Promise.any(Object.keys(localStorage).filter((key) => key.includes(":out:")).map(
  (key) => new Promise((held) => navigator.locks.request(key, () => new Promise(() => held())))))"""
#: From now on C{window.told} says whether another tab has kept a message.
_LISTEN = """() => addEventListener("storage", ({key}) => { window.told ||= key?.includes(":out:"); })"""
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
        alice.page.evaluate(_LISTEN)
        other.fill("#body", "Three.")
        other.press("#body", "Enter")
        alice.until("window.told")
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
        other.evaluate(_HOLD)
        second.hover()
        alice.page.click("[data-act=undo]")
        alice.see("#toast", "It is being sent just now")
        other.close()
        alice.page.evaluate(_EACH.format("localStorage.removeItem(key)"))
        alice.page.click("[data-act=undo]")
        alice.see("#toast", "not kept here any more")
        self.assertEqual(alice.page.input_value("#body"), "")
        alice.page.wait_for_selector(".message", state="detached")
        # That another tab has sent one may be heard before it is seen that it is not kept any more.
        alice.say("Three.")
        alice.see(".fate.kept")
        (key,) = alice.keeps(":out:")
        alice.page.evaluate(
            """(ref) => {
                const sent = {id: 1, state: "waiting", sender: "alice", recipient: "bob", body: "Three."};
                sent.time = "2026-11-23T10:00:00Z";
                new BroadcastChannel("chat:/:").postMessage({me: "alice", ref, sent});
            }""",
            key.rpartition(":")[2],
        )
        alice.see(".fate.waiting")
        self.assertEqual((alice.bubbles(), alice.keeps(":out:")), (["Three."], []))

    def test_tooLate(self) -> None:
        """What cannot be recalled is shown as what it is, in every tab: delivered, or recalled elsewhere."""
        self.daemon.start(*DOORS)
        bob, phone = self.daemon.user("bob"), self.daemon.user("alice")
        alice = self.window("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        other = alice.tab("#to=bob")
        alice.write_to("bob")

        def recall(text: str, meanwhile: Callable[[int], None]) -> None:
            alice.say(text)
            message = alice.page.locator(".message", has_text=text)
            message.locator(".fate.waiting").wait_for()
            message.hover()
            message.locator("[data-act=recall]").click()
            meanwhile(bob.next()["id"])
            alice.page.click("#ask-yes")

        def delivered(id: int) -> None:
            bob.received(id)
            other.wait_for_selector(".fate.delivered")
            alice.page.bring_to_front()

        def recalled(id: int) -> None:
            phone.system("delete", ids=[id])
            while phone.next().get("keyword") != "deleted":
                pass

        recall("First.", delivered)
        alice.see("#toast", "Too late: bob has got it.")
        recall("Second.", recalled)
        alice.see("#toast", "It was taken back already.")
        alice.see(".message.recalled", "Second.")
        alice.say("Third.")
        other.wait_for_selector(".message >> text=Third.")
        self.assertEqual(other.locator(".message.recalled").count(), 0)
        self.assertEqual(alice.page.locator(".fate.delivered").count(), 1)

    def test_logins(self) -> None:
        """A password changed in one tab logs nobody out in another; nor does another account that is left."""
        self.daemon.start(*DOORS)
        self.daemon.user("bob")
        self.daemon.user("alice")
        alice = self.window()
        bob = alice.tab()
        alice.log_in("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        lines: list[WebSocketRoute] = []

        def between(socket: WebSocketRoute) -> None:
            socket.connect_to_server()
            lines.append(socket)

        other = alice.context.new_page()
        other.route_web_socket("**/socket", between)
        other.goto(f"{alice.address}#settings")
        other.wait_for_selector("#self-name >> text=alice")
        alice.page.bring_to_front()
        alice.page.click("#self")
        alice.page.fill("#password-form [name=old]", password("alice"))
        alice.page.fill("#password-form [name=new]", "another password")
        alice.page.press("#password-form [name=new]", "Enter")
        alice.see("#password-form .right", "in force")
        lines[0].close()
        retry(lambda: len(lines) == 2, other)
        other.wait_for_selector("body:not(.down)")
        alice.page = bob
        bob.bring_to_front()
        alice.log_in("bob")
        alice.see("#self-name", "bob")
        retry(lambda: '"bob"' in str(bob.evaluate("() => localStorage['chat:/:login']")), bob)
        other.bring_to_front()
        other.click("#self")
        other.click("#log-out")
        other.wait_for_selector("#door-notice >> text=logged out")
        bob.reload()
        alice.see("#self-name", "bob")

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
        phone.send("nobody", "And me, who came back.")
        back = phone.expect("accepted", "message")[1]["id"]
        for number in range(61):
            carol.send("alice", f"Above {number}")
        for _ in range(61):
            phone.received(phone.next()["id"])
        phone.received(back)
        alice = self.window("alice")
        for name in ("bob", "carol", "nobody"):
            alice.see("#people .name", name)
        phone.system("delete", ids=[deep, back])
        phone.expect("deleted")
        alice.page.evaluate("() => { document.dispatchEvent(new Event('visibilitychange')); }")
        for name in ("bob", "nobody"):
            alice.page.wait_for_selector(f"#people .name >> text={name}", state="detached")

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
