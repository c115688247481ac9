"""The web page in a real browser: what is rare, and must not cost anybody a message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.browser import Window, retry
from tests.daemon import free_port
from tests.page import DOORS, LOOPBACK, PageTestCase

if TYPE_CHECKING:
    from playwright.sync_api import Route, WebSocketRoute

#: What a browser does that is not to keep anything of a page.
_NOTHING = """for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(window, name, {get() { throw new DOMException("no", "SecurityError"); }});
navigator.locks.request = () => Promise.reject(new DOMException("no", "SecurityError"));
window.BroadcastChannel = class { constructor() { throw new DOMException("no", "SecurityError"); } };"""
#: Take all the room that there is.
_FILL = """() => {
    for (let text = "x".repeat(1 << 20), number = 0; text; number++) {
        try { localStorage.setItem(`full ${number}`, text); }
        catch { text = text.slice(text.length / 2 + 1); }
    }
}"""
#: Whether the browser asks before it leaves the page.
_ASKS = "() => !dispatchEvent(new Event('beforeunload', {cancelable: true}))"


class StorageTests(PageTestCase):
    """A browser that keeps nothing, or has no room."""

    def test_nothing(self) -> None:
        """Where the browser may keep nothing, people talk all the same, for as long as the page is open."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        alice = self.window()
        alice.page.add_init_script(_NOTHING)
        alice.page.reload()
        alice.log_in("alice")
        alice.write_to("bob")
        alice.say("Is it allowed?")
        self.assertEqual(bob.next()["body"], "Is it allowed?")
        alice.see(".fate", "Waiting")
        self.assertFalse(alice.page.evaluate(_ASKS))
        alice.page.click("#self")
        alice.page.check("[name=theme][value=dark]")
        alice.until("document.documentElement.dataset.theme === 'dark'")
        alice.page.click("#log-out")
        alice.see("#door-notice", "logged out")

    def test_full(self) -> None:
        """Without room messages are sent and drafts stay; who leaves with something unsent is asked first."""
        doors = ("--web", f"tcp:{free_port()}:interface=127.0.0.1", "--json", LOOPBACK)
        self.daemon.start(*doors)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        alice = self.window("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        alice.page.evaluate(_FILL)
        alice.write_to("bob")
        alice.say("Is there room?")
        self.assertEqual(bob.next()["body"], "Is there room?")
        alice.see(".fate", "Waiting")
        alice.page.fill("#body", "Not finished")
        alice.write_to("carol")
        self.assertEqual(alice.page.input_value("#body"), "")
        alice.open("bob")
        self.assertEqual(alice.page.input_value("#body"), "Not finished")
        alice.page.fill("#body", "")
        retry(lambda: not alice.page.evaluate(_ASKS), alice.page)
        self.daemon.kill()
        alice.see("#status", "No connection")
        alice.say("For later.")
        alice.see("#toast", "leave the page open")
        self.assertTrue(alice.page.evaluate(_ASKS))
        self.daemon.start(*doors)
        alice.nudge()
        alice.until("document.querySelectorAll('.fate.waiting').length === 2")
        self.assertFalse(alice.page.evaluate(_ASKS))


class ConversationTests(PageTestCase):
    """Conversations that are not like others."""

    def _shallow(self, window: Window) -> None:
        """From its next loading on, the page looks through less of the mailbox, as if that were larger."""

        def less(route: Route) -> None:
            answer = route.fetch()
            script = answer.text()
            self.assertEqual(script.count("LOOKED_THROUGH = 2000"), 1)
            route.fulfill(response=answer, body=script.replace("LOOKED_THROUGH = 2000", "LOOKED_THROUGH = 0"))

        window.page.route("**/app.js", less)

    def test_large(self) -> None:
        """In a large mailbox what was found is there after a reload; about a stranger is asked once."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        phone = self.daemon.user("alice")
        for number in range(70):
            bob.send("alice", f"Number {number}.")
        ids = [phone.next()["id"] for _ in range(70)]
        phone.received(*ids)
        for number in range(31):
            other = self.daemon.user(f"other{number}")
            other.send("alice", "Not blank.")
            other.expect("accepted")
        alice = self.window("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        self._shallow(alice)
        said: list[str] = []
        whole = True

        def between(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()

            def say(text: str | bytes) -> None:
                said.append(str(text))
                server.send(text)

            def hear(text: str | bytes) -> None:
                complete, incomplete = '"more":false', '"more":false,"incomplete":true'
                socket.send(text if whole else str(text).replace(complete, incomplete))

            socket.on_message(say)
            server.on_message(hear)

        alice.page.route_web_socket("**/socket", between)
        alice.page.evaluate(f"() => {{ location.hash = 'to=bob&at={ids[0]}'; }}")
        alice.page.reload()
        alice.see(".message.goal .body", "Number 0.")
        self.assertEqual(alice.page.inner_text("#toast"), "")
        rows = "[...document.querySelectorAll('#people .preview')].map((each) => each.innerText)"
        alice.until(f"{rows}.filter((text) => text.includes('Not blank.')).length === 31")
        alice.see("#people-more")
        said.clear()
        alice.write_to("stranger")
        alice.see("#talk-empty", "No messages with stranger yet")
        self.assertEqual(len([text for text in said if '"search"' in text]), 1)
        whole = False  # the index is being made
        alice.write_to("somebody")
        alice.see("#talk-empty", "cannot find older messages yet")
        self.assertEqual(len([text for text in said if '"search"' in text]), 2)
        self.daemon.kill()
        alice.see("#status", "No connection")
        alice.page.click("#people-more")
        alice.see("#toast", "There is no connection")

    def test_midnight(self) -> None:
        """A day that comes twice, by clocks that do not agree, has two headings and not more and more."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        alice = self.window()
        yesterday = alice.page.evaluate("() => new Date().setUTCHours(0, 0, 0, 0) - 30000")
        alice.page.clock.install(time=yesterday / 1000)
        alice.page.reload()
        alice.log_in("alice")
        alice.write_to("alice")
        alice.say("Today, as the server has it.")
        alice.see(".fate", "Delivered")
        self.daemon.kill()
        alice.say("Yesterday, as the browser has it.")
        alice.page.clock.fast_forward(60_000)
        alice.say("Today.")
        for _ in range(3):
            alice.page.evaluate("() => { dispatchEvent(new StorageEvent('storage', {key: null})); }")
            alice.page.clock.fast_forward(1000)
            alice.until("document.querySelectorAll('.message').length === 3")
        self.assertEqual(alice.page.locator("#messages .day").count(), 3)


class FramesTests(PageTestCase):
    """A server that says what servers rarely say."""

    def test_hungUp(self) -> None:
        """A message for which the server hangs up again and again is not sent any more; what follows is."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        alice = self.window("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        tries: list[str] = []

        def between(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()

            def say(text: str | bytes) -> None:
                if "Bad luck." not in str(text):
                    server.send(text)
                    return
                tries.append(json.loads(text)["data"]["ref"])
                word = {"keyword": "fatal", "code": "internal-error", "reason": "Something is wrong here."}
                socket.send(json.dumps({"type": "system", "data": word}) + "\n")
                socket.close()

            socket.on_message(say)

        alice.page.route_web_socket("**/socket", between)
        alice.page.clock.install()
        alice.page.reload()
        alice.write_to("alice")
        alice.say("Bad luck.")
        alice.say("Good luck.")
        for number in range(2, 4):
            retry(lambda: len(tries) == number - 1, alice.page)  # noqa: B023
            alice.see("#status")
            alice.page.clock.fast_forward(400)
            alice.page.clock.fast_forward(2000)
        alice.see(".message.back .why", "Something is wrong here.")
        alice.page.clock.fast_forward(4000)
        alice.see(".fate", "Delivered")
        self.assertEqual(tries, tries[:1] * 3)

    def test_made(self) -> None:
        """Who is cut off between the new account and the login has the recovery codes all the same.

        Who has to wait sees the seconds pass, and hears it once.
        """
        self.daemon.start(*DOORS)
        window = self.window()

        def between(socket: WebSocketRoute) -> None:
            server = socket.connect_to_server()

            def say(text: str | bytes) -> None:
                if "too soon" not in str(text):
                    server.send(text)
                    return
                word = {"keyword": "failed", "code": "slow-down", "reason": "Too fast.", "seconds": 1}
                socket.send(json.dumps({"type": "system", "data": word}) + "\n")

            def hear(text: str | bytes) -> None:
                socket.send(text)
                if '"created"' in str(text):
                    socket.close()

            socket.on_message(say)
            server.on_message(hear)

        window.page.route_web_socket("**/socket", between)
        window.page.click("text=Create an account")
        for field, value in (("name", "alice"), ("password", "a long password")):
            window.page.fill(f"#sign-up-form [name={field}]", value)
        window.page.press("#sign-up-form [name=password]", "Enter")
        window.see("#codes-list li")
        for _ in range(4):
            window.page.keyboard.press("Escape")
        window.page.click("text=I have them")
        window.see("#door-notice", "The account alice is there now")
        window.log_in("alice", "too soon")
        window.see("#login-form .wrong [aria-hidden]", "Too fast. Try again in 1 second.")
        self.assertEqual(
            window.page.text_content("#login-form .wrong .sr"), "Too fast. Try again in 1 second."
        )
        window.see("#login-form .wrong", "You can try again now.")
        window.log_in("alice", "a long password")
        window.see("#self-name", "alice")
