"""TLS without homework: certificates, their fingerprints, what is spoken with them.

L{chat.tls.fingerprint} is for both sides; the rest is the server's.
"""
