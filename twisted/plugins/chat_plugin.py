"""Tells C{twistd} and C{twist} that there is a service named C{chat}."""

from __future__ import annotations

from twisted.application.service import ServiceMaker

chat = ServiceMaker("chat", "chat.tap", "A chat server that loses no message.", "chat")
