"""Stops a server at every call of its storage, and goes on with what is on the disk then.

A I{scenario} is a list of steps that people take (L{tests.crash.scenarios}), taken on a
L{tests.crash.stage.Stage}.  While they are taken, a L{tests.crash.storage.Storage} takes
I{snapshots}: what would be on the disk if everything stopped now, and what the clients know by then
(L{tests.crash.known}).  A process that is killed leaves nothing else, so L{tests.crash.aftermath}
can go on from a snapshot as the next server and the clients do, and hold the end to the end of the
run in which nothing happened.
"""
