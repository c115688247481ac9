"""The programs that C{chat} is: each module has C{parser()} and C{run(arguments)}, the exit status."""
