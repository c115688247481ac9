"""One connection as its client sees it: what was asked, and whether the answers are right."""

from __future__ import annotations

from tests.simulation.books import FOLDED, LEAVING, WAITING, Violation, during
from tests.simulation.claims import Send, prepared
from tests.simulation.entry import Entry
from tests.simulation.mail import Asked, Said, too_large
from tests.simulation.model import Model

#: What may answer what; C{failed} may always.
ANSWERS = {
    "delete": "deleted",
    "list": "listing",
    "search": "found",
    "read": "messages",
    "ping": "pong",
    "quit": "bye",
    "change-password": "password-changed",
    "delete-account": "account-deleted",
    "token": "token-issued",
    "logout": "logged-out",
}
PROMPTS = ("username", "password", "new-password")


class Conversation(Entry):
    """The judge of one connection."""

    def __init__(self, model: Model, door: str) -> None:
        super().__init__(model, door)
        model.conversations.append(self)

    # --- what the client says ---

    def says(self, kind: str, frame: Said) -> None:
        """The client puts a frame on the wire; C{kind}: C{login}, C{message}, a keyword, or C{garbage}."""
        model = self.model
        asked = Asked(kind, frame, model.step, moment=model.moment)
        if kind == "login" and frame.get("field") == "username":
            self.name = prepared(frame["value"])
        elif kind == "login" and frame.get("field") == "password":
            self._says_password(asked)
        elif kind == "token":
            model.claims(self.name).purse.asked += 1
        elif kind == "message":
            asked.send = model.says_message(self.name, frame)
        elif kind == "change-password":
            asked.epoch = model.claims(self.name).perhaps(frame["new"])
            asked.revocation = model.claims(self.name).purse.revoke(self, model.step)
        elif kind == "delete-account":
            model.claims(self.name).leaving = True
            asked.revocation = model.claims(self.name).purse.revoke(self, model.step)
        elif kind == "logout":
            for token in self._tokens:
                token.doubts += 1
            if frame.get("all"):
                model.claims(self.name).alone = True
                asked.revocation = model.claims(self.name).purse.revoke(self, model.step)
        elif kind == "delete":
            model.claims(self.name).deleted.update(frame["ids"])
        elif kind == "received":
            self.confirms(frame["ids"])
            if not self.at_login:
                return
            # It is refused if nobody is logged in by the time it arrives.
        self.asked.append(asked)

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

    def _failed(self, asked: Asked, frame: Said) -> None:
        code, send = frame["code"], asked.send
        if not self.logged_in:
            self.prompt_due = True
        self._need(bool(frame.get("reason")), "a refusal without a reason")
        if code == "storage-full":
            self._need(self.model.disk.was_full, "the disk was never full")
        if asked.kind in ("change-password", "login") and code == "wrong-password":
            self._wrong_password(asked)
        if code == "wrong-token":
            self._wrong_token(asked)
        self.model.claims(self.name).pending.discard(asked.epoch)
        if asked.kind == "token":
            self._no_token(code)
        if asked.revocation is not None and code in ("wrong-password", "bad-password"):
            self.model.claims(self.name).purse.refused(asked.revocation)
        if send is None:
            self._need(code != "ref-reused", f"{asked.kind} was answered by ref-reused")
            return
        if self.door != "text" and send.ref is not None and len(send.ref) <= 64:
            self._need(frame.get("ref") == send.ref, f"the refusal names {frame.get('ref')}, not {send.ref}")
        send.refused += 1
        if code == "ref-reused":
            self._need(self._reused(asked, send), "ref-reused, but the ref is free")
        elif code == "too-large":
            self._need(too_large(send), "too-large, but it is not")
        elif code == "bad-state":
            self._need(not self.logged_in, "bad-state after the login")
        else:
            self._need(code == "storage-full", f"a message was refused with {code}")
        if send.overdrawn:
            raise Violation(f"message {send.id} was refused ({code}), but it is in the ledger")

    def _reused(self, asked: Asked, send: Send) -> bool:
        """Whether the ledger can have known another message of this ref."""
        rows = [self.model.books.rows[id] for rival in self.model.rivals(send) for id in rival.ids]
        return any(each.state != FOLDED for row in rows for each in during(row.history, asked.step))

    def _pong(self, asked: Asked, frame: Said) -> None:
        """There is nothing more to it."""

    def _bye(self, asked: Asked, frame: Said) -> None:
        self.over = True

    def _fatal(self, code: str) -> None:
        self.over = True
        why = {
            "malformed-frame": self.garbage,
            "frame-too-large": self.garbage,
            "login-timeout": not self.logged_in,
            "shutting-down": self.stopping,
            "internal-error": self.model.disk.was_broken,
            "account-gone": self.model.claims(self.name).leaving,
            "logged-out-elsewhere": self.model.claims(self.name).alone,
        }
        self._need(why.get(code, False), f"the server ended the conversation with {code}")

    # --- at rest ---

    def at_rest(self) -> None:
        """Everything that was said has arrived, and nothing more will happen by itself."""
        if self.over or self.link is None or not self.link.whole or self.link.stalled:
            return
        self._skip_receipts()
        self._need(self._greeted and not self.prompt_due, "no prompt came")
        model = self.model
        no_room = model.time <= model.patience
        begun = self.account is None or self.account.now == LEAVING
        if no_room and begun and self.asked and self.asked[0].kind == "delete-account":
            return  # a deletion that has begun waits for room
        self._need(not self.asked, f"{len(self.asked)} questions were never answered, first {self._first()}")
        if not self.logged_in or self.account is None:
            return
        for row in model.books.rows.values():
            if row.now[:2] == (WAITING, self.account.id):
                self._need(
                    row.id in self.shown, f"message {row.id} waits for {self.name} and was not delivered"
                )
                # A receipt that there is no room for is tried again later.
                kept = row.id in self.confirmed and not no_room
                self._need(not kept, f"message {row.id} was confirmed, and waits still")
        self._need(not self._owed, f"the deliveries of {sorted(self._owed)} were never told")

    def _first(self) -> str:
        return f"{self.asked[0].kind} of step {self.asked[0].step}" if self.asked else ""


def _brief(frame: Said) -> str:
    return f"{frame.get('keyword', 'message')} {frame.get('id', frame.get('code', ''))}"
