-- What users-2.sql has and users-1.sql has not, in the same words.

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
