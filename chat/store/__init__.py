"""SQLite through C{twisted.enterprise.adbapi}, one connection: three files, group commit, passwords."""

from chat.store.store import Store

__all__ = ["Store"]
