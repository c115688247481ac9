-- users.db: who has an account, who had one, who may have one; and who does not want to hear from whom.

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

-- Codes with which somebody can sign up where not everybody can.  A code is 140 random bits, which nobody
-- can try out; so a fast hash keeps it.
CREATE TABLE invitations (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    digest  BLOB NOT NULL UNIQUE,  -- SHA-256 of the code
    made    INTEGER NOT NULL,      -- milliseconds since 1970-01-01 UTC
    expires INTEGER NOT NULL,      -- from then on it is worth nothing
    uses    INTEGER NOT NULL       -- for so many accounts more
) STRICT;

-- Whom somebody does not want to hear from.
CREATE TABLE blocks (
    account INTEGER NOT NULL,      -- accounts.id
    blocked INTEGER NOT NULL,      -- accounts.id: what this one sends to that account goes back
    time    INTEGER NOT NULL,      -- since when, in milliseconds since 1970-01-01 UTC
    PRIMARY KEY (account, blocked)
) STRICT, WITHOUT ROWID;

-- What the name of each account looks like (UTS #39): nobody signs up under a name that looks like another's.
-- What it looks like can change with the version of Unicode; each start brings this up to date.
CREATE TABLE skeletons (
    account  INTEGER PRIMARY KEY,  -- accounts.id
    skeleton TEXT NOT NULL
) STRICT;

CREATE INDEX skeletons_skeleton ON skeletons (skeleton);
