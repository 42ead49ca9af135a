-- How a store of an older schema becomes one of the next; each is one transaction.

-- name: 1
-- Parks outlive a restart; deadlines are looked up by destination.
CREATE TABLE park (
    concern TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    kind TEXT NOT NULL,
    words TEXT NOT NULL,
    since REAL NOT NULL,
    until REAL NOT NULL,
    step REAL NOT NULL
);
DROP INDEX delivery_open;
CREATE INDEX delivery_deadline ON delivery (destination, deadline) WHERE state = 'queued';
CREATE INDEX delivery_dead ON delivery (seq) WHERE state = 'dead';
