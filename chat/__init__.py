"""A chat server that is held to its word: what it accepts is delivered or comes back.

L{chat.messages} is the vocabulary, L{chat.wire} its encodings, L{chat.client} the
way to use a server from a program, and L{chat.service} the server itself.
"""

from __future__ import annotations

__version__ = "0.1.0"
