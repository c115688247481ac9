"""The web page in a real browser: people talk, and the connection breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser import Cable, address, retry
from tests.daemon import free_port, password
from tests.page import DOORS, LOOPBACK, PageTestCase

if TYPE_CHECKING:
    from playwright.sync_api import WebSocketRoute


class TalkTests(PageTestCase):
    """People talk to each other."""

    def test_twoBrowsers(self) -> None:
        """Two people sign up in two browsers and talk; each sees what became of what they wrote."""
        self.daemon.start(*DOORS)
        alice, bob = self.window(), self.window()
        alice.sign_up("Alice")
        alice.see("#nothing-title", "Welcome, alice")
        alice.write_to("bob")
        alice.say("Is anybody there?")
        alice.see(".message.back .why", "no account")
        bob.sign_up("bob")
        alice.page.click("#subject-toggle")
        alice.page.fill("#subject", "Lunch")
        alice.say("At noon?")
        bob.see("#announce", "New message from alice: Lunch \u2013 At noon?")  # for a few seconds
        bob.see("#people .badge", "1")
        retry(lambda: bob.page.title().startswith("(1)"), bob.page)
        self.assertRegex(bob.page.get_attribute("#favicon", "href") or "", "/page-[0-9a-f]{16}/icon-new.svg$")
        bob.open("alice")
        bob.see(".message.theirs .subject", "Lunch")
        alice.see(".message.mine .fate.delivered", "Delivered")
        retry(lambda: bob.page.title() == "alice \u2013 chat", bob.page)
        bob.say("Yes,\ngladly.")
        alice.see(".message.theirs .body", "gladly.")
        self.assertEqual(alice.bubbles(), ["Is anybody there?", "At noon?", "Yes,\ngladly."])

    def test_twoTabs(self) -> None:
        """Two tabs of one browser show the same, and whoever logs out in one is logged out in the other."""
        self.daemon.start(*DOORS)
        self.daemon.user("bob")
        self.daemon.user("alice")
        alice = self.window("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        other = alice.tab("index.html#to=bob")  # the same page by its other name
        other.wait_for_selector("#body")
        alice.write_to("bob")
        alice.say("Only once.")
        other.wait_for_selector(".message.mine .body >> text=Only once.")
        alice.page.click("#self")
        alice.page.click("#log-out")
        alice.see("#door-notice", "logged out")
        other.wait_for_selector("#door-notice >> text=another window")
        self.assertEqual(alice.keeps(":login") + alice.keeps(":out:"), [])

    def test_notification(self) -> None:
        """Who looks elsewhere and wants it is notified; what is unread stays unread until it is seen."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        alice = self.window(permissions=["notifications"])
        alice.page.add_init_script(
            """window.told = [];
            window.Notification = class {
                static permission = "granted";
                constructor(title, {body}) { window.told.push(`${title}: ${body}`); }
            };
            Object.defineProperty(document, "hidden", {get: () => window.away ?? false});"""
        )
        alice.page.reload()
        alice.log_in("alice")
        alice.page.click("#self")
        alice.page.check("#notify")
        alice.write_to("bob")
        bob.send("alice", "Are you looking?")
        alice.see(".message.theirs", "Are you looking?")
        alice.page.evaluate("() => { window.away = true; }")
        bob.send("alice", "And\nnow?", subject="Well")
        alice.see("#people .badge", "1")
        self.assertEqual(alice.page.evaluate("() => window.told"), ["bob: Well \u2013 And now?"])
        alice.page.evaluate("() => { location.hash = ''; }")
        alice.page.reload()
        alice.see("#people .badge", "1")
        alice.open("bob")
        alice.page.wait_for_selector("#people .badge", state="detached")
        alice.page.reload()
        alice.see("#people .preview", "Well")
        self.assertEqual(alice.page.locator("#people .badge").count(), 0)

    def test_keyboard(self) -> None:
        """A conversation without a mouse, from the login on."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        bob = self.daemon.user("bob")
        bob.send("alice", "Any news?")
        page = self.window().page
        keys = page.keyboard
        keys.type("alice")
        keys.press("Tab")
        keys.type(password("alice"))
        keys.press("Enter")
        page.wait_for_selector("#people .badge")
        keys.press("/")
        keys.press("ArrowDown")
        keys.press("Enter")
        page.wait_for_selector(".message.theirs")
        keys.type("None,")
        keys.press("Shift+Enter")
        # These are for the input method, however the browser says so.
        page.evaluate(
            """() => {
                const kinds = [{isComposing: true}, {keyCode: 229}];
                for (const key of ["Enter", "Escape"]) for (const kind of kinds)
                    body.dispatchEvent(new KeyboardEvent("keydown", {...kind, key, bubbles: true}));
            }"""
        )
        keys.type("alas.")
        keys.press("Enter")
        page.wait_for_selector(".message.mine .fate >> text=Waiting")
        keys.press("Escape")
        keys.press("ArrowUp")
        keys.press("Tab")
        keys.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.dataset.act"), "recall")
        keys.press("Enter")
        page.wait_for_selector("#ask[open]")
        keys.press("Tab")
        keys.press("Enter")
        page.wait_for_selector(".message.recalled")
        keys.press("Escape")
        page.wait_for_selector("#nothing", state="visible")


class ConnectionTests(PageTestCase):
    """The connection breaks, and nothing is lost or doubled."""

    def test_cutOff(self) -> None:
        """Cut off, it says so at once, keeps what is written, and sends it once when it is back.

        All this behind a proxy, under a path.
        """
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        cable = Cable(self, address(self.daemon), "/below/this/")
        alice = self.browser.window(self, cable.address)
        alice.log_in("alice")
        alice.write_to("bob")
        alice.say("First.")
        alice.see(".fate", "Waiting")
        cable.cut()
        alice.see("#status", "No connection")
        alice.say("Second.")
        alice.say("Third.")
        alice.see(".fate.kept", "Not sent yet")
        bob.send("alice", "Meanwhile.")
        cable.mend()
        alice.page.click("#status-retry")
        alice.see(".message.theirs .body", "Meanwhile.")
        alice.page.wait_for_selector("#status", state="hidden")
        alice.until("document.querySelectorAll('.fate.waiting').length === 3")
        self.assertEqual(self.mailbox(bob), ["First.", "Second.", "Third."])

    def test_reloadWhileSending(self) -> None:
        """Reloaded while the answer to a message is on its way, it is sent again, and arrives once."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        cable = Cable(self, address(self.daemon))
        alice = self.browser.window(self, cable.address)
        alice.log_in("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        alice.write_to("bob")
        cable.mute()
        alice.say("One.")
        alice.say("Two.")
        alice.page.fill("#body", "Not finished")
        alice.see(".fate.kept", "Sending…")
        self.assertEqual(bob.next()["body"], "One.")
        cable.mend()
        alice.page.reload()
        alice.until("document.querySelectorAll('.fate.waiting').length === 2")
        self.assertEqual(alice.bubbles(), ["One.", "Two."])
        self.assertEqual(alice.page.input_value("#body"), "Not finished")
        self.assertEqual(self.mailbox(bob), ["One.", "Two."])
        self.assertEqual(alice.keeps(":out:"), [])

    def test_silence(self) -> None:
        """A network that swallows everything is found out, though nobody tells of it."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        cable = Cable(self, address(self.daemon))
        alice = self.browser.window(self, cable.address)
        alice.page.clock.install()
        alice.log_in("alice")
        alice.see("#people-none")
        cable.mute()
        alice.page.clock.fast_forward(21000)  # it asks whether anybody is there
        alice.page.clock.fast_forward(8000)
        alice.see("#status", "No connection")

    def test_withoutTexts(self) -> None:
        """A conversation whose texts do not come is shown nevertheless, with and without a connection."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        bob.send("alice", "One.")
        bob.send("alice", "Two.")
        bob.expect("accepted", "accepted")
        alice = self.window("alice")
        alice.see("#people .badge", "2")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        sockets: list[WebSocketRoute] = []

        def between(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()
            sockets.append(socket)
            socket.on_message(lambda text: None if '"read"' in str(text) else server.send(text))

        alice.page.route_web_socket("**/socket", between)
        alice.page.evaluate("() => { location.hash = 'to=bob'; }")
        alice.page.reload()
        alice.until("document.querySelectorAll('.message time').length === 2")
        self.assertEqual(alice.bubbles(), ["…", "…"])
        alice.page.route_web_socket("**/socket", lambda socket: socket.close())
        sockets[-1].close()
        alice.see("#status", "No connection")
        alice.page.evaluate("() => { location.hash = ''; }")
        alice.open("bob")
        alice.until("document.querySelectorAll('.message time').length === 2")

    def test_serverRestarts(self) -> None:
        """When the server comes back everybody is back, without a password, and learns what came.

        What it has no room for is kept, with the reason, and sent when there is room.
        """
        doors = ("--web", f"tcp:{free_port()}:interface=127.0.0.1", "--json", LOOPBACK)
        self.daemon.start(*doors)
        self.daemon.user("bob").send("alice", "Back again.")
        self.daemon.user("alice")
        alice = self.window("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        self.daemon.kill()
        alice.see("#status", "Next attempt")
        self.daemon.start(*doors, "--reserve-space", f"{2**40}")
        alice.nudge()
        alice.write_to("alice")
        alice.say("For later.")
        alice.see("#status", "no room left")
        alice.see(".fate", "Not sent yet")
        self.daemon.kill()
        alice.see("#status", "No connection")
        self.daemon.start(*doors)
        self.daemon.user("bob").send("alice", "Here I am.")
        alice.nudge()
        alice.see(".fate", "Delivered")
        alice.see("#people .preview", "Here I am.")
