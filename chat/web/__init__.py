"""The web door: the page, the WebSocket that it talks through, and HTTP for programs."""
