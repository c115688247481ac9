-- messages.db: the ledger, and the mailboxes derived from it.  It alone decides the fate of a message.

CREATE TABLE identity (
    dataset TEXT NOT NULL          -- the same in all three files: they belong together
) STRICT;

-- One row for each message ever accepted, ids from 1 without a gap.  The content goes when the message
-- is removed or recalled; the row stays until it is folded.  The time in settled is that of acceptance
-- while a message waits: so a receipt changes a row in its place and no row has to move for it.  With a
-- ref, the digest is made when the content goes: while it is there, it is compared itself.
-- What a message was sent with is the sum of what applies: 1 and, where a program wrote it that no program
-- is to answer, 2.
CREATE TABLE ledger (
    id        INTEGER PRIMARY KEY, -- in the order of acceptance
    sender    INTEGER NOT NULL,    -- users.accounts.id
    recipient INTEGER NOT NULL,    -- whose mailbox it is in: the sender's own once it has been returned
    position  INTEGER NOT NULL,    -- grows with each arrival in any mailbox: a return arrives anew
    time      INTEGER NOT NULL,    -- accepted, in milliseconds since 1970-01-01 UTC
    settled   INTEGER,             -- when it left the state it was accepted in
    state     INTEGER NOT NULL,    -- 0 waiting, 1 delivered, 2 removed, 3 recalled, 4 dead
    options   INTEGER NOT NULL,    -- 1: the sender asked to be told of the delivery
    ref       TEXT,                -- the sender's own identifier
    digest    BLOB,                -- with a ref: what the contents were, to tell a repetition from a reuse
    code      TEXT,                -- returned: why
    addressee TEXT,                -- returned: the name it was meant for
    subject   TEXT,
    body      TEXT                 -- NULL when removed or recalled
) STRICT;

CREATE UNIQUE INDEX ledger_ref ON ledger (sender, ref) WHERE ref IS NOT NULL;
CREATE INDEX ledger_waiting ON ledger (recipient, position) WHERE state = 0;
CREATE INDEX ledger_settled ON ledger (settled) WHERE state IN (2, 3);

-- In which stretches of 1024 ids (id / 1024) each box has messages, see chat/store/stretches.py.
CREATE TABLE stretches (
    account INTEGER NOT NULL,      -- users.accounts.id
    box     INTEGER NOT NULL,      -- 0 inbox: recipient is the account, and state < 2; 1 sent: sender is
    stretch INTEGER NOT NULL,
    PRIMARY KEY (account, box, stretch)
) STRICT, WITHOUT ROWID;

-- The counts that make a login cheap.
CREATE TABLE mailboxes (
    account INTEGER PRIMARY KEY,   -- users.accounts.id
    waiting INTEGER NOT NULL,      -- how many of its messages are in state 0
    offered INTEGER NOT NULL       -- messages up to this position may have been shown to it
) STRICT;

-- The last numbers given out: a missing last row would not show as a gap.
CREATE TABLE counters (
    id       INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT;
INSERT INTO counters (id, position) VALUES (0, 0);

-- What is left of messages that were settled long ago: runs of consecutive ids, and their fates.
CREATE TABLE folded (
    first    INTEGER PRIMARY KEY,  -- the first id of the run
    last     INTEGER NOT NULL,     -- the last one
    removed  INTEGER NOT NULL,     -- how many were delivered and removed,
    returned INTEGER NOT NULL,     -- came back to their senders and were removed,
    recalled INTEGER NOT NULL,     -- were recalled,
    skipped  INTEGER NOT NULL      -- or never were messages here: an import left their ids out
) STRICT;

-- Which messages the index has, see chat/store/volumes.py: those with ids from first to last that are in a
-- mailbox.  Its volumes are tables of FTS5: words_N has the words of the messages whose id / 131072 is N.
CREATE TABLE indexed (
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    rules TEXT NOT NULL            -- by which words were told apart and folded, see chat/spelling.py
) STRICT;
INSERT INTO indexed (first, last, rules) VALUES (1, 0, '');

-- What has left a volume is overwritten in it when it is written anew, some time after the time in stale.  An
-- outdated volume counts for nothing: its messages are indexed anew, and before they are, it goes.
CREATE TABLE volumes (
    number   INTEGER PRIMARY KEY,
    stale    INTEGER,              -- milliseconds since 1970-01-01 UTC
    outdated INTEGER NOT NULL      -- 0 or 1
) STRICT;

-- When the messages of a stretch that are in the index were accepted; perhaps others that have left it, too.
CREATE TABLE moments (
    stretch  INTEGER PRIMARY KEY,
    earliest INTEGER NOT NULL,     -- milliseconds since 1970-01-01 UTC
    latest   INTEGER NOT NULL
) STRICT;
