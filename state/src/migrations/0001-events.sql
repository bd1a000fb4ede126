-- What a store says of itself; every version of flow can read this table.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Instances once by name, everywhere else by number.
CREATE TABLE name (
    id INTEGER PRIMARY KEY,
    workflow TEXT NOT NULL,
    instance TEXT NOT NULL,
    UNIQUE (workflow, instance)
) STRICT;

-- Workflow texts by SHA-256, for `why` and `resume`.
CREATE TABLE text (
    hash TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

-- One row for each run; what it says more stands in its events.
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    workflow TEXT NOT NULL,
    first INTEGER NOT NULL,     -- seq of its first event
    start INTEGER NOT NULL,     -- seq of the RUN event of its last session
    started INTEGER NOT NULL,   -- wall clock of the first event, ms since 1970
    finish INTEGER,             -- seq of the END event of its last session
    finished INTEGER,           -- wall clock of that event
    ended TEXT                  -- how it said to have ended
) STRICT;

-- The history. No second index, no rowid of its own: an append touches one leaf.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    instance INTEGER,           -- name.id; NULL for the run itself
    kind INTEGER NOT NULL,      -- 1 RUN, 2 INTENT, 3 RECORD, 4 OUTCOME, 5 EDIT, 6 END
    at INTEGER NOT NULL,        -- wall clock, ms since 1970; for display only
    body BLOB NOT NULL          -- one byte says the form that follows
) STRICT;

-- The ledger, folded from the history up to meta.folded_seq.
CREATE TABLE instance (
    name INTEGER PRIMARY KEY,   -- name.id
    open INTEGER,               -- seq of its open INTENT
    body BLOB NOT NULL          -- one byte says the form that follows
) STRICT;

INSERT INTO meta (key, value) VALUES ('folded_seq', '0');
