-- What was a yes or a no in messages-3.sql is the sum of several in messages-4.sql, and the old numbers
-- mean what they did.  The row's place does not change, nor does any row.

ALTER TABLE ledger RENAME COLUMN receipt TO options;
