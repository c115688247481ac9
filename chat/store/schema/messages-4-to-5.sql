-- What messages-5.sql has and messages-4.sql has not, in the same words; nothing is indexed yet.

-- Which messages the index has, see chat/store/volumes.py: those with ids from first to last that are in a
-- mailbox.  Its volumes are tables of FTS5: words_N has the words of the messages whose id / 131072 is N.
CREATE TABLE indexed (
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL
) STRICT;
INSERT INTO indexed (first, last) SELECT id + 1, id FROM counters;

-- What has left a volume is overwritten in it when it is written anew, some time after the time in stale.
CREATE TABLE volumes (
    number INTEGER PRIMARY KEY,
    stale  INTEGER                 -- milliseconds since 1970-01-01 UTC
) STRICT;

-- When the messages of a stretch that are in the index were accepted; perhaps others that have left it, too.
CREATE TABLE moments (
    stretch  INTEGER PRIMARY KEY,
    earliest INTEGER NOT NULL,     -- milliseconds since 1970-01-01 UTC
    latest   INTEGER NOT NULL
) STRICT;
