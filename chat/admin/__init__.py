"""C{chatctl}: what the operator asks of the files of a server."""
