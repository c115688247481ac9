-- What messages-2.sql has and messages-1.sql has not, in the same words.

CREATE INDEX ledger_settled ON ledger (settled) WHERE state IN (2, 3);

CREATE TABLE folded (
    first    INTEGER PRIMARY KEY,  -- the first id of the run
    last     INTEGER NOT NULL,     -- the last one
    removed  INTEGER NOT NULL,     -- how many were delivered and removed,
    returned INTEGER NOT NULL,     -- came back to their senders and were removed,
    recalled INTEGER NOT NULL,     -- were recalled,
    skipped  INTEGER NOT NULL      -- or never were messages here: an import left their ids out
) STRICT;
