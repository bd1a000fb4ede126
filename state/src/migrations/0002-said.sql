-- What a success said, apart from what every look changes. The ledger is folded again: until now
-- nothing has pruned or edited a history.
DROP TABLE instance;
CREATE TABLE instance (
    name INTEGER PRIMARY KEY,   -- name.id
    open INTEGER,               -- seq of its open INTENT
    said BLOB,                  -- its last success, in the form of its event
    body BLOB NOT NULL          -- everything else; one byte says the form that follows
) STRICT;
UPDATE meta SET value = '0' WHERE key = 'folded_seq';
