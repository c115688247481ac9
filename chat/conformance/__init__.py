"""Whether a server keeps docs/protocol.rst, asked from outside: C{python -m chat.conformance HOST:PORT}.

Each check is a short conversation over TCP with accounts of its own, and names the
section of the document that it holds.  Any implementation can be asked; nothing
is known of the server but its door.  docs/conformance.rst tells how to use it.

The JSON door is spoken to with the standard library alone.  The DER door is spoken to
through L{chat.wire}, with hand-made octets where a frame is to be wrong.
"""
