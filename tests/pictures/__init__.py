"""The pictures of the README: screenshots of the real page, and a recording of a real terminal session.

    python -m tests.pictures

makes them anew in C{docs/pictures}, with a real server, a real Chromium and a real terminal; nothing
in them was drawn by hand.
"""
