-- passwords.db: read and written by the password store only.

CREATE TABLE identity (
    dataset TEXT NOT NULL          -- the same in all three files: they belong together
) STRICT;

CREATE TABLE passwords (
    account INTEGER PRIMARY KEY,   -- users.accounts.id
    hash    TEXT NOT NULL          -- bcrypt of base64(SHA-256(password))
) STRICT;
