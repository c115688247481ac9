-- passwords.db: read and written by the password store only.

CREATE TABLE identity (
    dataset TEXT NOT NULL          -- the same in all three files: they belong together
) STRICT;

CREATE TABLE passwords (
    account INTEGER PRIMARY KEY,   -- users.accounts.id
    hash    TEXT NOT NULL          -- bcrypt of base64(SHA-256(password))
) STRICT;

-- What stands for a password, until it ends or is revoked.  A token is 256 random bits, which nobody can
-- try out; so a fast hash keeps it as well as a slow one would.
CREATE TABLE tokens (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    account INTEGER NOT NULL,      -- users.accounts.id
    digest  BLOB NOT NULL UNIQUE,  -- SHA-256 of the token
    issued  INTEGER NOT NULL       -- milliseconds since 1970-01-01 UTC
) STRICT;

CREATE INDEX tokens_account ON tokens (account);

-- What lets somebody in who has forgotten the password, once: to choose another one.  A code is 80 random
-- bits, which nobody can try out, either.
CREATE TABLE recoveries (
    account INTEGER NOT NULL,      -- users.accounts.id
    digest  BLOB NOT NULL,         -- SHA-256 of the code
    expires INTEGER,               -- milliseconds since 1970-01-01 UTC; NULL: it stays good
    PRIMARY KEY (account, digest)
) STRICT, WITHOUT ROWID;

-- Passwords that the operator has replaced: who was logged in before that is given no tokens any more.
CREATE TABLE resets (
    account INTEGER PRIMARY KEY,   -- users.accounts.id
    time    INTEGER NOT NULL       -- of the last one, in milliseconds since 1970-01-01 UTC
) STRICT;
