"""The web page in a real browser: what is shown of the mailbox, and to whom."""

from __future__ import annotations

from chat.wire.text_words import _UNSAFE
from tests.browser import FAULTS, NARROW, axe, retry
from tests.page import DOORS, PageTestCase

#: Views that are no conversation, and what is to be seen in each of them only.
VIEWS = {"settings": "#settings-title", "delete-account": "#delete-title", "new": "#new-name"}

#: What is wider than its place, wherever that is: some of it would have to be scrolled to.
_WIDER = """[document.documentElement, ...document.querySelectorAll("body *")]
    .filter((each) => each.checkVisibility()
        && each.clientWidth > 1 && each.scrollWidth > each.clientWidth + 1
        && !["hidden", "clip"].includes(getComputedStyle(each).overflowX)
        && getComputedStyle(each).display !== "inline")
    .map((each) => `${each.tagName} ${each.id} ${each.className}`)"""


class MailboxTests(PageTestCase):
    """What one has is found, taken back and removed."""

    def test_fates(self) -> None:
        """What waits is recalled, what came is deleted, and what came back is sent again."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        bob.send("alice", "To be deleted.")
        alice = self.window("alice")
        alice.open("bob")
        alice.see(".message.theirs")
        alice.page.hover(".message.theirs")
        alice.page.click(".message.theirs [data-act=delete]")
        alice.page.click("#ask-yes")
        alice.page.wait_for_selector(".message.theirs", state="detached")
        alice.say("A mistake.")
        alice.see(".fate", "Waiting")
        bob.expect("accepted", "message")
        alice.page.hover(".message.mine")
        alice.page.click(".message.mine [data-act=recall]")
        alice.page.click("#ask-yes")
        alice.see(".message.recalled .fate", "Recalled")
        alice.write_to("nobody")
        alice.say("Hello?")
        alice.see(".message.back .why", "There is no account of that name")
        alice.page.hover(".message.back")
        alice.page.click(".message.back [data-act=again]")
        self.assertEqual(alice.page.input_value("#body"), "Hello?")
        self.assertEqual(self.mailbox(bob), [])
        alice.page.click(".message.back [data-act=delete]")
        alice.page.click("#ask-yes")
        alice.see("#talk-empty", "No messages with nobody yet")
        alice.page.reload()
        alice.see("#talk-empty", "No messages with nobody yet")

    def test_blocked(self) -> None:
        """Who is blocked gets back what they write, until it is undone."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        bob.send("alice", "One.")
        bob.expect("accepted")
        alice = self.window("alice")
        alice.open("bob")
        alice.page.click("#talk-block")
        alice.page.click("#ask-yes")
        alice.see("#toast", "bob is blocked")
        bob.send("alice", "Two.")
        self.assertEqual(bob.expect("accepted", "message")[1]["returned"]["code"], "blocked")
        alice.page.click("#self")
        alice.page.click("#blocked button")
        alice.page.wait_for_selector("#blocked-none", state="visible")

    def test_search(self) -> None:
        """What is found leads to its place in a long conversation; what cannot be read is explained."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        self.daemon.user("alice")
        bob.send("alice", "The key lies under the flowerpot.", subject="Key")
        for number in range(300):
            bob.send("alice", f"And number {number}.")
        bob.expect(*["accepted"] * 301)
        alice = self.window("alice")
        alice.see("#announce", "301 new messages from bob")  # at once, not as they come; for a few seconds
        alice.see("#people .badge", "301")
        alice.open("bob")
        alice.see(".message .subject", "Key")  # the first unread one
        alice.page.click("#to-newest")
        alice.see(".message .body", "And number 299.")
        alice.page.wait_for_selector("#people .badge", state="detached")
        self.assertLess(alice.page.locator("#messages > li").count(), 60)
        alice.page.reload()
        alice.see(".message .body", "And number 299.")
        alice.page.fill("#query", "flowerpot")
        alice.see("#found .excerpt", "under the flowerpot")
        alice.page.click("#found a")
        alice.see(".message.goal .body", "The key lies under the flowerpot.")
        alice.page.fill("#query", "from:")
        alice.see("#search-wrong", "from:alice")
        alice.page.press("#query", "Escape")
        self.assertEqual(alice.page.input_value("#query"), "")

    def test_firstUnread(self) -> None:
        """A conversation opens where the unread begins; older ones come above it, and it stays in place."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        phone = self.daemon.user("alice")
        for number in range(150):
            bob.send("alice", f"{number}")
        for _ in range(100):
            phone.received(phone.next()["id"])
        alice = self.window("alice")
        retry(lambda: bool(alice.keeps(":login")), alice.page)
        alice.open("bob")
        alice.see("#messages .new")
        alice.see(".message .body", "100")
        alice.page.evaluate("() => { document.getElementById('messages-scroll').scrollTop = 0; }")
        alice.until("Number(document.querySelector('.message .body').innerText) < 60")
        shown = [int(text) for text in alice.bubbles()]
        self.assertEqual(shown, list(range(shown[0], shown[0] + len(shown))))
        self.assertIn(100, shown)

    def test_limits(self) -> None:
        """Too long is told before it is sent, and nothing is cut."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        alice = self.window("alice")
        alice.write_to("alice")
        alice.page.fill("#body", "ä" * 32768 + "!")
        alice.see("#composer-wrong", "1 bytes too long: at most 65,536")
        alice.page.press("#body", "Enter")
        alice.page.fill("#body", "ä" * 32768)
        alice.see("#composer-wrong", "0 bytes are left")
        alice.page.press("#body", "Enter")
        alice.see(".fate", "Delivered")
        alice.page.click("[data-act=unfold]")
        self.assertEqual(len(alice.bubbles()[0]), 32768)
        # Half a character, which JSON cannot say: the server would hang up, again and again.
        alice.page.evaluate("() => { body.value = 'Half: \\ud83d'; composer.requestSubmit(); }")
        alice.until("document.querySelectorAll('.fate.delivered').length === 2")
        # All that is on the screen is kept, however long it is; not all that ever was.
        kept = alice.page.evaluate(
            """async () => {
                const {Mailbox} = await import(new URL("mailbox.js", document.scripts[0].src));
                const mailbox = new Mailbox("somebody");
                const said = {time: "2026-11-23T10:00:00Z", sender: "a", recipient: "b"};
                for (let id = 1; id <= 600; id++) mailbox.take({...said, id, body: "x".repeat(65536)});
                return [...mailbox.messages.values()].filter(({body}) => body).length;
            }"""
        )
        self.assertEqual(kept, 400)


class ShownTests(PageTestCase):
    """What others write is text, and the page is for everybody."""

    def test_strangeText(self) -> None:
        """Markup is shown as it is written, and what cannot be seen is spelled out."""
        self.daemon.start(*DOORS)
        mallory = self.daemon.user("<b>mallory&amp;")
        self.daemon.user("alice")
        body = "<img src=x onerror=alert(1)> \u202egnp.exe \x1b[31m https://example.org/?a=<script> JS:1"
        mallory.send("alice", body, subject="<script>alert(1)</script>\u200b")
        alice = self.window("alice")
        alice.page.on("dialog", lambda dialog: self.fail(f"a dialog: {dialog.message}"))
        alice.see("#people .name", "<b>mallory&amp;")
        alice.page.click("#people a.person")
        alice.see(".message .subject", "<script>alert(1)</script>")
        self.assertEqual(
            alice.page.locator(".message .spelled").all_inner_texts(), ["\\u200b", "\\u202e", "\\x1b"]
        )
        links = alice.page.locator(".message a")
        self.assertEqual(links.count(), 1)
        self.assertEqual(links.first.get_attribute("href"), "https://example.org/?a=")
        self.assertIn("noopener", links.first.get_attribute("rel") or "")
        # The rule is that of the text door, but for what does no harm in a page.
        edges = sorted(
            {code for first, last in _UNSAFE for code in (first - 1, first, last, last + 1) if code >= 0}
        )
        shown = alice.page.evaluate(
            """async (codes) => {
                const {line} = await import(new URL("shown.js", document.scripts[0].src));
                return codes.filter((code) => line(`a${String.fromCodePoint(code)}b`).startsWith("a\\\\"));
            }""",
            edges,
        )
        harmless = {0x09, 0x0A, 0x5C}
        unsafe = {code for first, last in _UNSAFE for code in range(first, last + 1)} - harmless
        self.assertEqual(shown, [code for code in edges if code in unsafe or code == 0x5C])
        kept = alice.page.evaluate(
            """async (texts) => {
                const {line} = await import(new URL("shown.js", document.scripts[0].src));
                return texts.map(line);
            }""",
            [
                family := "\U0001f468\u200d\U0001f469\u200d\U0001f467",
                persian := "\u0645\u06cc\u200c\u062e\u0648",
                "pay\u200dpal",
            ],
        )
        self.assertEqual(kept, [family, persian, "pay\\u200dpal"])
        whole = alice.page.evaluate(
            """async () => {
                const {start} = await import(new URL("shown.js", document.scripts[0].src));
                return start("ab\\u{1f600}cd", 3) + start("ab\\u{1f600}cd", 4);
            }"""
        )
        self.assertEqual(whole, "abab\U0001f600")

    def test_strangeNames(self) -> None:
        """Somebody may be called what means something to JavaScript."""
        self.daemon.start(*DOORS)
        self.daemon.user("alice")
        alice = self.window("alice")
        names = ("constructor", "__proto__")
        for name in names:
            alice.write_to(name)
            alice.say("Is anybody called so?")
            alice.see(".message.back .why", "no account")
        for name in names:
            self.daemon.user(name).send("alice", f"I am {name}.")
            alice.see(f"#people a.person:has(.name:text-is('{name}')) .preview", f"I am {name}.")
        alice.open(names[0])
        alice.see(".message.theirs .body", f"I am {names[0]}.")
        alice.page.wait_for_selector("#people .badge", state="detached")
        alice.page.reload()
        alice.see("#people .name", names[1])
        alice.see(".message.theirs .body", f"I am {names[0]}.")
        self.assertEqual(alice.page.locator("#people .badge").count(), 0)

    def test_everybody(self) -> None:
        """Nothing serious in the way of people with disabilities, in any view, light and dark."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        bob.send("alice", "Later back.")
        self.daemon.user("alice")
        bob.send("alice", "Hidden \u202e text, and https://example.org/", subject="A subject")
        window = self.window()
        page = window.page
        page.evaluate(axe())

        def look(view: str) -> None:
            page.wait_for_timeout(50)
            self.assertEqual((view, page.evaluate(FAULTS, None)), (view, []))
            page.emulate_media(color_scheme="dark")
            self.assertEqual((view, "dark", page.evaluate(FAULTS, ["color-contrast"])), (view, "dark", []))
            page.emulate_media(color_scheme="light")

        look("login")
        for view in ("sign-up", "forgotten"):
            page.evaluate("(view) => { location.hash = view; }", view)
            window.see(f"#{view}-form")
            look(view)
        page.evaluate("() => { location.hash = 'log-in'; }")
        window.log_in("alice", "wrong")
        window.see("#login-form .wrong", "Wrong")
        look("wrong password")
        window.log_in("alice")
        window.see("#people .badge", "1")
        look("list")
        window.write_to("zed")
        window.say("Nobody?")
        window.see(".message.back")
        look("returned")
        window.open("bob")
        window.say("Waiting.")
        window.see(".fate.waiting")
        page.focus(".message.theirs")
        look("conversation")
        page.fill("#query", "hidden")
        window.see("#found .excerpt")
        look("search")
        page.fill("#query", "")
        for view, shown in VIEWS.items():
            page.evaluate("(view) => { location.hash = view; }", view)
            window.see(shown)
            look(view)
        self.daemon.kill()
        window.see("#status", "No connection")
        look("no connection")

    def test_narrow(self) -> None:
        """On a phone one thing is shown at a time, and nothing has to be scrolled sideways."""
        self.daemon.start(*DOORS)
        bob = self.daemon.user("bob")
        alice = "w" * 60
        self.daemon.user(alice)
        bob.send(alice, "x" * 500, subject="W" * 200)
        window = self.window(size=NARROW, has_touch=True, is_mobile=True)
        page = window.page
        for size in (NARROW, (320, 600)):
            page.set_viewport_size({"width": size[0], "height": size[1]})
            self.assertEqual(page.evaluate(_WIDER), [])
        window.log_in(f"not{alice}")
        window.see("#ask-title", f"not{alice}")
        self.assertEqual(page.evaluate(_WIDER), [])
        page.click("#ask-no")
        window.see("#login-form .wrong", f"not{alice}")
        self.assertEqual(page.evaluate(_WIDER), [])
        window.log_in(alice)
        window.see("#people .badge")
        self.assertFalse(page.locator("#main").is_visible())
        window.open("bob")
        window.see(".message.theirs")
        self.assertFalse(page.locator("#people").is_visible())
        self.assertLessEqual(
            page.evaluate("document.querySelector('.bubble').getBoundingClientRect().right"), 320
        )
        self.assertEqual(page.evaluate(_WIDER), [])
        page.tap(".message.theirs .bubble")
        button = page.locator(".message.theirs [data-act=delete]")
        button.wait_for()
        edge = page.locator("#messages-scroll").bounding_box()
        below = button.bounding_box()
        assert edge is not None and below is not None
        self.assertLess(below["y"] + below["height"], edge["y"] + edge["height"] + 1)
        page.keyboard.press("/")
        window.see("#people a.person")
        window.open("bob")  # whom the address names already
        window.see(".message.theirs")
        page.click("#talk .back")
        window.see("#people a.person")
        self.assertEqual(page.evaluate("document.activeElement.hash"), "#to=bob")
        for view, shown in VIEWS.items():
            page.evaluate("(view) => { location.hash = view; }", view)
            window.see(shown)
            self.assertEqual((view, page.evaluate(_WIDER)), (view, []))
        page.evaluate("(name) => { location.hash = `to=${name}`; }", f"not{alice}")
        window.see("#talk-empty", f"not{alice}")
        self.assertEqual(page.evaluate(_WIDER), [])

    def test_small(self) -> None:
        """All of it is less than 60 KB on the way, and none of it comes from elsewhere."""
        self.daemon.start(*DOORS)
        window = self.window()
        window.page.reload()
        window.see("#login-form")
        cold = self.window()
        sizes: dict[str, int] = cold.page.evaluate(
            """() => {
                const sizes = {};
                for (const kind of ["navigation", "resource"])
                    for (const {name, transferSize} of performance.getEntriesByType(kind))
                        sizes[name] = (sizes[name] ?? 0) + transferSize;
                return sizes;
            }"""
        )
        self.assertEqual([name for name in sizes if not name.startswith(cold.address)], [])
        names = {name.rpartition("/")[2] for name in sizes}
        self.assertEqual(names, {"", "app.js", "style.css", "icon.svg"})
        self.assertGreater(min(sizes.values()), 0)
        self.assertLess(sum(sizes.values()), 60_000)
