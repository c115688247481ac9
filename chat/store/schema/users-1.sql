-- users.db: who has an account, and who had one.

CREATE TABLE identity (
    dataset TEXT NOT NULL          -- the same in all three files: they belong together
) STRICT;

CREATE TABLE accounts (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: a name can change hands, an id cannot
    name    TEXT NOT NULL,         -- prepared (RFC 8265, UsernameCaseMapped)
    state   INTEGER NOT NULL,      -- 0 active, 1 leaving (start-up finishes it), 2 deleted, 3 joining (start-up drops it)
    created INTEGER NOT NULL,      -- milliseconds since 1970-01-01 UTC
    freed   INTEGER                -- when it was deleted; the name stays reserved for a while after that
) STRICT;

CREATE UNIQUE INDEX accounts_name ON accounts (name) WHERE state <> 2;
CREATE INDEX accounts_freed ON accounts (name, id) WHERE state = 2;
CREATE INDEX accounts_unfinished ON accounts (state, id) WHERE state IN (1, 3);
