"""What becomes of a message that somebody wants to send, before it is handed to the ledger."""

from __future__ import annotations

from typing import Union

from chat.errors import Code, Refusal
from chat.ledger import AUTOMATIC, RECEIPT, Draft
from chat.messages import BODY_BYTES, RECIPIENT_BYTES, REF_BYTES, SUBJECT_BYTES, Message
from chat.prepared import address

#: What a session gives for one message of a batch: the draft, or its refusal.
Prepared = Union[Draft, Refusal]


def draft(message: Message) -> Prepared:
    """The message checked against every limit, or why it cannot be accepted."""
    recipient, subject, body, ref = message.recipient, message.subject, message.body, message.ref
    # A code point has at most four bytes, one of ASCII has one: few texts need be encoded to be measured.
    if (
        (len(body) if body.isascii() else len(body) * 4) > BODY_BYTES
        or len(recipient) * 4 > RECIPIENT_BYTES
        or (subject is not None and len(subject) * 4 > SUBJECT_BYTES)
        or (ref is not None and (len(ref) if ref.isascii() else len(ref) * 4) > REF_BYTES)
    ):
        for what, text, limit in (
            ("ref", ref, REF_BYTES),
            ("body", body, BODY_BYTES),
            ("subject", subject, SUBJECT_BYTES),
            ("recipient", recipient, RECIPIENT_BYTES),
        ):
            if text is not None and (len(text) > limit or len(text.encode()) > limit):
                return Refusal(
                    Code.TOO_LARGE,
                    f"The {what} of a message has at most {limit} bytes of UTF-8.",
                    ref=None if what == "ref" else ref,
                )
    name = address(recipient)
    options = RECEIPT if message.receipt else 0
    answers = 0
    if message.automatic:
        options += AUTOMATIC
        answers = message.answers  # a person may answer anything
    return Draft(name, recipient if name is None else name, subject, body, ref, options, answers)


def too_fast(ref: str | None, seconds: int) -> Refusal:
    """The refusal of a message that is too much."""
    later = f"{seconds} second{'s' * (seconds != 1)}"
    return Refusal(
        Code.SLOW_DOWN,
        f"This account sends more than it may. Keep the message and send it again in {later}.",
        ref=ref,
        seconds=seconds,
    )
