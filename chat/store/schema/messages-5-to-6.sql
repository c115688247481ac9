-- What messages-6.sql has and messages-5.sql has not, in the same words; what was indexed is indexed anew, for
-- words are folded by other rules.

DROP TABLE indexed;

-- Which messages the index has, see chat/store/volumes.py: those with ids from first to last that are in a
-- mailbox.  Its volumes are tables of FTS5: words_N has the words of the messages whose id / 131072 is N.
CREATE TABLE indexed (
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    rules TEXT NOT NULL            -- by which words were told apart and folded, see chat/spelling.py
) STRICT;
INSERT INTO indexed (first, last, rules) SELECT id + 1, id, '' FROM counters;

CREATE TEMP TABLE made AS SELECT number FROM volumes;
DROP TABLE volumes;

-- What has left a volume is overwritten in it when it is written anew, some time after the time in stale.  An
-- outdated volume counts for nothing: its messages are indexed anew, and before they are, it goes.
CREATE TABLE volumes (
    number   INTEGER PRIMARY KEY,
    stale    INTEGER,              -- milliseconds since 1970-01-01 UTC
    outdated INTEGER NOT NULL      -- 0 or 1
) STRICT;
INSERT INTO volumes (number, stale, outdated) SELECT number, NULL, 1 FROM made;
DROP TABLE made;
