-- What messages-3.sql has and messages-2.sql has not, in the same words, and what it has no more.

DROP INDEX ledger_sent;
DROP INDEX ledger_inbox;
UPDATE ledger SET settled = time WHERE settled IS NULL;

CREATE TABLE stretches (
    account INTEGER NOT NULL,      -- users.accounts.id
    box     INTEGER NOT NULL,      -- 0 inbox: recipient is the account, and state < 2; 1 sent: sender is
    stretch INTEGER NOT NULL,
    PRIMARY KEY (account, box, stretch)
) STRICT, WITHOUT ROWID;
-- Grouped, not DISTINCT: so they are sorted first, which takes a seventh of the time.
INSERT INTO stretches (account, box, stretch)
    SELECT recipient, 0, id / 1024 FROM ledger WHERE state < 2 GROUP BY recipient, id / 1024
    UNION ALL SELECT sender, 1, id / 1024 FROM ledger GROUP BY sender, id / 1024;
