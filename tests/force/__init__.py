"""The promise held by force: the real daemon, real clients over loopback, and no mercy.

Nothing of the server is imported here but what its operators and clients use: C{twistd chat},
C{chatctl audit}, the client library and the frames of the protocol.
"""
