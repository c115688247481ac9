"""A real browser: headless Chromium on the page of a real daemon.

    browser = Browser.shared()
    alice = browser.window(self, address(daemon))
    alice.page.fill("#body", "Hello")

One Chromium is started for all the tests of a run; each window has its own storage, as on another
machine.  What the page complains of (a script that fails, something that the policy forbids) fails
the test that it happens in.
"""

from __future__ import annotations

import atexit
import selectors
import shutil
import socket
import threading
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.daemon import PATIENCE, Daemon, password

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright

#: Under any of these names Chromium may be installed.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: No sandbox: it cannot be had in a container. Nothing that is not asked for by a test.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_FAILED = ("WebSocket connection", "net::ERR_")
#: What people have: a desk and a pocket.
WIDE = (1280, 800)
NARROW = (390, 844)


class Browser:
    """The Chromium of this run."""

    _one: Browser | None = None

    def __init__(self, chromium: Chromium, playwright: Playwright) -> None:
        self._chromium = chromium
        self._playwright = playwright

    @classmethod
    def shared(cls) -> Browser:
        """The one that all tests use; it is started for the first of them.

        @raise SkipTest: there is none on this machine.
        """
        if cls._one is None:
            program = next(filter(None, map(shutil.which, NAMES)), None)
            if program is None:
                raise SkipTest(f"no Chromium here: install one of {', '.join(NAMES)}")
            try:
                from playwright.sync_api import sync_playwright
            except ImportError:
                raise SkipTest("no playwright here: pip install playwright") from None
            playwright = sync_playwright().start()
            atexit.register(playwright.stop)
            chromium = playwright.chromium.launch(
                executable_path=program, args=list(FLAGS), timeout=PATIENCE * 1000
            )
            cls._one = cls(chromium, playwright)
        return cls._one

    def window(
        self, test: SynchronousTestCase, address: str, size: tuple[int, int] = WIDE, **options: Any
    ) -> Window:
        """A window of its own, on the page at this address.

        @param options: of playwright's C{new_context}.
        """
        width, height = size
        context = self._chromium.new_context(
            viewport={"width": width, "height": height}, locale="en-GB", timezone_id="UTC", **options
        )
        context.set_default_timeout(PATIENCE * 1000)
        test.addCleanup(context.close)
        return Window(test, context, address)


class Window:
    """One window, or several tabs of it: what is kept in the browser is theirs together.

    @ivar page: the tab that is in front.
    """

    def __init__(self, test: SynchronousTestCase, context: BrowserContext, address: str) -> None:
        self._test = test
        self.context = context
        self.address = address
        self.complaints: list[str] = []
        self.page = self.tab()

    def tab(self, fragment: str = "") -> Page:
        """Another tab, with the page in it."""
        page = self.context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"{error}"))
        page.goto(self.address + fragment)
        self._test.addCleanup(lambda: self._test.assertEqual(self.complaints, []))
        return page

    def _console(self, message: ConsoleMessage) -> None:
        # A connection that fails is said to the console by the browser itself; the page deals with it.
        if message.type == "error" and not any(words in message.text for words in _FAILED):
            self.complaints.append(message.text)

    def sign_up(self, name: str, **fields: str) -> None:
        """Make the account and be logged in."""
        page = self.page
        page.click("text=Create an account")
        form = page.locator("#sign-up-form")
        for field, value in {"name": name, "password": password(name), **fields}.items():
            form.locator(f"[name={field}]").fill(value)
        form.locator("button.primary").click()
        page.click("text=I have them")

    def log_in(self, name: str, secret: str | None = None) -> None:
        """Log in, with the password that tests give everybody."""
        form = self.page.locator("#login-form")
        form.locator("[name=name]").fill(name)
        form.locator("[name=password]").fill(password(name) if secret is None else secret)
        form.locator("button.primary").click()

    def open(self, name: str) -> None:
        """Open the conversation with somebody."""
        self.page.click(f"#people a.person:has(.name:text-is('{name}'))")

    def write_to(self, name: str) -> None:
        """Begin a conversation with somebody."""
        self.page.click("a[aria-label='New message']")
        self.page.fill("#new-name", name)
        self.page.press("#new-name", "Enter")

    def say(self, text: str) -> None:
        """Write it in the conversation that is open, and send it."""
        self.page.fill("#body", text)
        self.page.press("#body", "Enter")

    def see(self, selector: str, text: str | None = None) -> None:
        """Wait until this is there, with this text in it."""
        found = self.page.locator(selector)
        if text is not None:
            found = found.filter(has_text=text)
        found.first.wait_for()

    def nudge(self) -> None:
        """Let the browser say that the network is back, as it does when it has a new one."""
        self.page.evaluate("() => { dispatchEvent(new Event('online')); }")

    def until(self, expression: str) -> None:
        """Wait until this is true in the page."""
        retry(lambda: bool(self.page.evaluate(expression)), self.page)

    def keeps(self, name: str) -> list[str]:
        """The keys of what is kept in the browser, of those that have this in them."""
        keys: list[str] = self.page.evaluate(
            "() => Object.keys(localStorage).concat(Object.keys(sessionStorage))"
        )
        return [key for key in keys if name in key]

    def bubbles(self) -> list[str]:
        """The texts of the messages that are shown."""
        return self.page.locator("#messages .message .body").all_inner_texts()


def address(daemon: Daemon) -> str:
    """Where the page of a daemon is."""
    return "http://{}/".format(next(where for kind, where in daemon.doors if kind == "web"))


class Cable:
    """Lies between browsers and a daemon, and can be cut.

    @ivar address: where the page is reached through it.
    """

    def __init__(self, test: SynchronousTestCase, address: str, path: str = "/") -> None:
        """Lie before the page at this address.

        @param path: where the page is found at this end, as behind a reverse proxy.
        """
        host, port = address.removeprefix("http://").strip("/").split(":")
        self._beyond = (host, int(port))
        self._asked = f"GET {path}".encode()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}{path}"
        self._cut = False
        self._mute = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._listen, daemon=True).start()
        test.addCleanup(self._close)

    def cut(self) -> None:
        """From now on, whoever calls is hung up on, and all who have called are."""
        self._cut = True
        for pair in self._pairs:
            for end in pair:
                _hang_up(end)
        self._pairs.clear()

    def mute(self) -> None:
        """From now on nothing that the daemon says gets through, and nobody is told."""
        self._mute = True

    def mend(self) -> None:
        """Let everything through again, for whoever calls from now on."""
        self.cut()
        self._cut = self._mute = False

    def _close(self) -> None:
        self.cut()
        self._listening.close()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            far = socket.create_connection(self._beyond, PATIENCE)
            self._pairs.append((near, far))
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, selectors.DefaultSelector() as chosen:
            chosen.register(near, selectors.EVENT_READ)
            chosen.register(far, selectors.EVENT_READ)
            try:
                while True:
                    for key, _ in chosen.select():
                        assert isinstance(key.fileobj, socket.socket)
                        said = key.fileobj.recv(1 << 16)
                        if not said:
                            return
                        if key.fileobj is near:
                            far.sendall(said.replace(self._asked, b"GET /"))
                        elif not self._mute:
                            near.sendall(said)
            except OSError:
                return


def _hang_up(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        end.close()


def axe() -> str:
    """The script of axe-core, which finds what people with disabilities stumble over."""
    return (files("axe_playwright_python") / "axe.min.js").read_text()


#: Runs axe on what is shown, with all its rules or with these; a list of what is serious.
FAULTS = """async (rules) => (await axe.run(document, rules ? {runOnly: rules} : {})).violations
  .filter(({impact}) => impact === "serious" || impact === "critical")
  .map(({id, nodes}) => `${id}: ` + nodes.map(({html, any}) => `${html} ${any[0]?.message}`).join(" "))"""


def retry(condition: Callable[[], bool], page: Page) -> None:
    """Wait for something that the page does not show."""
    for _ in range(int(PATIENCE * 20)):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not happen")
