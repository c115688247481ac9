"""A person meets a server for the first time, and decides whether it is the right one."""

from __future__ import annotations

from chat.client.console import Console
from chat.client.errors import UnknownServer
from chat.client.trust import claim


async def asked_to_trust(console: Console, error: UnknownServer) -> bool:
    """Show what the server is called, and ask; whether the person says that it is the right one.

    In place of a yes the fingerprint or the words may be typed or pasted, as somebody
    else has told them: then they are compared.

    @raise EndOfInput: there was no answer.
    """
    for line in (
        f"The server at {error.address} is not known yet. No authority says that it is the right one:",
        f"  {'; '.join(error.doubts)}.",
        "Only you can tell, by what it is called. Ask whoever runs it; it says so when it starts.",
        f"  in words: {error.words}",
        f"  {error.fingerprint}",
    ):
        console.show(line)
    return await asked_whether_right(console, error.fingerprint, error.words)


async def asked_whether_right(console: Console, fingerprint: str, words: str) -> bool:
    """Whether the person says that this is the right certificate.

    @raise EndOfInput: there was no answer.
    """
    while True:
        answer = await console.ask("Is it the right one? (yes, no, or what it should be called) ")
        answer = (answer or "").strip()
        if answer.lower() in ("yes", "no"):
            return answer.lower() == "yes"
        try:
            if claim(answer) in (words, fingerprint):
                return True
        except ValueError:
            console.show("Please type yes or no, or paste the fingerprint, or type the words.")
        else:
            console.show("No, this is another one.")
            return False
