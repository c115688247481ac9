-- What passwords-3.sql has and passwords-2.sql has not, in the same words.

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
