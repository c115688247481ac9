"""One connection as its client sees it: what was asked, and whether the answers are right."""

from __future__ import annotations

from typing import Optional

from tests.simulation.books import ACTIVE, WAITING, Account, Violation, during
from tests.simulation.mail import Asked, Mail, Said, too_large
from tests.simulation.model import Model, prepared

#: What may answer what; C{failed} may always.
ANSWERS = {
    "delete": "deleted",
    "list": "listing",
    "read": "messages",
    "ping": "pong",
    "quit": "bye",
    "change-password": "password-changed",
    "delete-account": "account-deleted",
}
PROMPTS = ("username", "password", "new-password")


class Conversation(Mail):
    """The judge of one connection."""

    def __init__(self, model: Model, door: str) -> None:
        super().__init__(model, door)
        model.conversations.append(self)

    # --- what the client says ---

    def says(self, kind: str, frame: Said) -> None:
        """The client puts a frame on the wire; C{kind}: C{login}, C{message}, a keyword, or C{garbage}."""
        model = self.model
        asked = Asked(kind, frame, model.step)
        if kind == "login" and frame.get("field") == "username":
            self.name = prepared(frame["value"])
        elif kind == "login":
            self._says_password(asked)
        elif kind == "message":
            asked.send = model.says_message(self.name, frame)
        elif kind == "change-password":
            asked.epoch = model.claims(self.name).perhaps(frame["new"])
        elif kind == "delete-account":
            model.claims(self.name).leaving = True
        elif kind == "delete":
            model.claims(self.name).deleted.update(frame["ids"])
        elif kind == "received":
            self.confirms(frame["ids"])
            if not self.at_login:
                return
            # It is refused if nobody is logged in by the time it arrives.
        self.asked.append(asked)

    def _says_password(self, asked: Asked) -> None:
        claims = self.model.claims(self.name)
        password = asked.frame["value"]
        if self.prompt == "new-password" or not self.model.books.active(self.name):
            asked.epoch = claims.perhaps(password)
        asked.right = password in claims.passwords

    # --- what the client hears ---

    def hears(self, frame: Said) -> None:
        """The server has said this."""
        self._skip_receipts()
        if self.over:
            raise Violation(f"the server spoke after its last word: {_brief(frame)}")
        keyword = frame.get("keyword", "message")
        if keyword == "message":
            self._delivery(frame)
        elif keyword == "version":
            self._need(not self._greeted, "it greeted twice")
            self._greeted = self.prompt_due = True
        elif keyword == "delivered":
            self._notice(frame)
        elif keyword == "fatal":
            self._fatal(frame["code"])
        elif keyword == "bye" and self.half_closed and not self.asked:
            self.over = True
        elif keyword in PROMPTS and self.prompt_due:
            self.prompt_due = False
            self.prompt = keyword
        else:
            self._need(not self.prompt_due, f"no prompt came, but {keyword}")
            self._need(bool(self.asked), f"it answered what was not asked: {_brief(frame)}")
            self._answer(self.asked.popleft(), keyword, frame)

    def _skip_receipts(self) -> None:
        """Who is logged in gets no answer to a receipt."""
        while self.logged_in and self.asked and self.asked[0].kind == "received":
            self.asked.popleft()

    # --- answers ---

    def _answer(self, asked: Asked, keyword: str, frame: Said) -> None:
        if keyword == "failed":
            self._failed(asked, frame)
        elif not self.logged_in:
            self._login_answer(asked, keyword, frame)
        elif asked.kind == "message":
            self._need(keyword == "accepted", f"a message was answered by {keyword}")
            self._accepted(asked, frame)
        else:
            self._need(ANSWERS.get(asked.kind) == keyword, f"{asked.kind} was answered by {keyword}")
            getattr(self, "_" + keyword.replace("-", "_"))(asked, frame)

    def _login_answer(self, asked: Asked, keyword: str, frame: Said) -> None:
        self._need(asked.kind == "login", f"{asked.kind} before the login was answered by {keyword}")
        field, model = asked.frame["field"], self.model
        if field == "username":
            self._need(keyword in ("password", "new-password"), f"the name was answered by {keyword}")
            self.prompt = keyword
            was = self._states(asked.step)
            if was == {ACTIVE}:
                self._need(keyword == "password", f"{self.name} exists, but it asked for a new password")
            if ACTIVE not in was:
                self._need(
                    keyword == "new-password", f"{self.name} does not exist, but it asked for the password"
                )
            return
        self._need(keyword in ("created", "welcome"), f"the password was answered by {keyword}")
        self._need(prepared(frame["username"]) == self.name, f"it made of {self.name} {frame['username']}")
        if keyword == "created":
            self.prompt_due = True
            claims = model.claims(self.name)
            claims.surely(asked.frame["value"], asked.epoch or claims.perhaps(asked.frame["value"]))
            self._need(
                any(ACTIVE in during(each.history, asked.step) for each in model.books.named(self.name)),
                "the account that it says it created is not there",
            )
            return
        right = asked.right or asked.frame["value"] in model.claims(self.name).passwords
        self._need(right, "that was not the password")
        self._welcome(asked, frame)

    def _welcome(self, asked: Asked, frame: Said) -> None:
        self.logged_in = True
        self.prompt = ""
        self.entered = asked.step
        self.shown = {}
        self.confirmed = set()
        self._notices, self._owed = set(), set()
        self._last_id = self._last_fresh = 0
        accounts = [
            each for each in self.model.books.named(self.name) if ACTIVE in during(each.history, asked.step)
        ]
        self._need(bool(accounts), f"it let {self.name} in, who does not exist")
        self.account = accounts[0] if len(accounts) == 1 else None
        if self.account is not None:
            possible = self._counts(self.account, asked.step)
            if frame["waiting"] not in possible:
                raise Violation(f"welcome {self.name}: {frame['waiting']} wait, it says; it was {possible}")

    def _counts(self, account: Account, since: int) -> range:
        """How many messages can have been waiting at one moment since then."""
        always = perhaps = 0
        for row in self.model.books.rows.values():
            was = [each[:2] == (WAITING, account.id) for each in during(row.history, since)]
            entered = row.history[0][0] >= since
            perhaps += any(was)
            always += all(was) and not entered
        return range(always, perhaps + 1)

    def _states(self, since: int) -> set[Optional[int]]:
        """In which states the accounts of this name were; empty: there were none."""
        states: set[Optional[int]] = set()
        for account in self.model.books.named(self.name):
            was = during(account.history, since)
            states.update(was)
            if account.history[0][0] >= since:
                states.add(None)
        return states

    def _failed(self, asked: Asked, frame: Said) -> None:
        code, send = frame["code"], asked.send
        if not self.logged_in:
            self.prompt_due = True
        self._need(bool(frame.get("reason")), "a refusal without a reason")
        if code == "storage-full":
            self._need(self.model.disk.was_full, "the disk was never full")
        if asked.kind in ("change-password", "login") and code == "wrong-password":
            self._wrong_password(asked)
        if send is None:
            self._need(code != "ref-reused", f"{asked.kind} was answered by ref-reused")
            return
        if self.door != "text" and send.ref is not None and len(send.ref) <= 64:
            self._need(frame.get("ref") == send.ref, f"the refusal names {frame.get('ref')}, not {send.ref}")
        send.refused += 1
        if code == "ref-reused":
            self._need(bool(self.model.rivals(send)), "ref-reused, but the ref is new")
        elif code == "too-large":
            self._need(too_large(send), "too-large, but it is not")
        elif code == "bad-state":
            self._need(not self.logged_in, "bad-state after the login")
        else:
            self._need(code == "storage-full", f"a message was refused with {code}")
        if send.said == send.refused and send.id is not None:
            raise Violation(f"message {send.id} was refused ({code}), but it is in the ledger")

    def _wrong_password(self, asked: Asked) -> None:
        claims = self.model.claims(self.name)
        said = asked.frame.get("password", asked.frame.get("value"))
        if claims.certain and list(claims.passwords) == [said] and self._states(asked.step) == {ACTIVE}:
            self._need(asked.step > self._password_since(), "the right password was refused")

    def _password_since(self) -> int:
        return max((each.history[-1][0] for each in self.model.books.named(self.name)), default=0)

    def _pong(self, asked: Asked, frame: Said) -> None:
        """There is nothing more to it."""

    def _bye(self, asked: Asked, frame: Said) -> None:
        self.over = True

    def _password_changed(self, asked: Asked, frame: Said) -> None:
        self.model.claims(self.name).surely(asked.frame["new"], asked.epoch)

    def _account_deleted(self, asked: Asked, frame: Said) -> None:
        if self.account is not None:
            self._need(self.account.now == 2, f"{self.name} was told to be deleted, but is not")
        self.logged_in = False
        self.account = None
        self.prompt_due = True

    def _fatal(self, code: str) -> None:
        self.over = True
        why = {
            "malformed-frame": self.garbage,
            "frame-too-large": self.garbage,
            "login-timeout": not self.logged_in,
            "shutting-down": self.stopping,
            "internal-error": self.model.disk.was_broken,
            "account-gone": self.model.claims(self.name).leaving,
        }
        self._need(why.get(code, False), f"the server ended the conversation with {code}")

    # --- at rest ---

    def at_rest(self) -> None:
        """Everything that was said has arrived, and nothing more will happen by itself."""
        if self.over or self.link is None or not self.link.whole or self.link.stalled:
            return
        self._skip_receipts()
        self._need(self._greeted and not self.prompt_due, "no prompt came")
        self._need(not self.asked, f"{len(self.asked)} questions were never answered, first {self._first()}")
        if not self.logged_in or self.account is None:
            return
        for row in self.model.books.rows.values():
            if row.now[:2] == (WAITING, self.account.id):
                self._need(
                    row.id in self.shown, f"message {row.id} waits for {self.name} and was not delivered"
                )
                # A receipt that there is no room for is tried again later.
                kept = row.id not in self.confirmed or self.model.disk.was_full
                self._need(kept, f"message {row.id} was confirmed, and waits still")
        self._need(not self._owed, f"the deliveries of {sorted(self._owed)} were never told")

    def _first(self) -> str:
        return f"{self.asked[0].kind} of step {self.asked[0].step}" if self.asked else ""


def _brief(frame: Said) -> str:
    return f"{frame.get('keyword', 'message')} {frame.get('id', frame.get('code', ''))}"
