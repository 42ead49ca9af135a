-- What the store remembers. Plain SQL: the same tables serve on other databases.
-- Times are Unix seconds. JSON stands in texts. Every state and its steps are those of sidecar/core/life.py.

-- The store's own facts: schema (its version), mode (live, sandbox or graph=URL), created_at.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- A journal, and when it was read for the very first time.
CREATE TABLE journal (
    path TEXT PRIMARY KEY,
    first_read_at REAL NOT NULL
);

-- How far each file of a journal was read. A file is known by device, inode and its first bytes.
CREATE TABLE place (
    journal TEXT NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    head BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (journal, device, inode)
);

-- One visit; body is its fields in JSON. clicked_at is null while only its later additions were seen.
CREATE TABLE click (
    subid TEXT PRIMARY KEY,
    clicked_at REAL,
    stored_at REAL NOT NULL,
    has_fbclid INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX click_age ON click (has_fbclid, stored_at);

-- One request for /KEY/postback. fingerprint tells whether a second copy of the same id has the same content.
-- subid, decision, reason, trace and configuration come with the decision; raw is 0 once customers' data are gone.
CREATE TABLE postback (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    received_at REAL NOT NULL,
    stored_at REAL NOT NULL,
    source TEXT NOT NULL,
    method TEXT NOT NULL,
    uri BLOB NOT NULL,
    type TEXT NOT NULL,
    body BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    state TEXT NOT NULL,
    due_at REAL NOT NULL,
    subid TEXT NOT NULL DEFAULT '',
    decided_at REAL,
    decision TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    trace TEXT NOT NULL DEFAULT '[]',
    configuration TEXT NOT NULL DEFAULT '',
    raw INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX postback_due ON postback (due_at, seq) WHERE state IN ('undecided', 'waiting');
CREATE INDEX postback_subid ON postback (subid) WHERE subid <> '';
CREATE INDEX postback_raw ON postback (stored_at) WHERE raw = 1 AND state <> 'undecided';
CREATE INDEX postback_age ON postback (stored_at);

-- Where deliveries go: a small table, so that a delivery names one of its rows.
CREATE TABLE destination (
    seq INTEGER PRIMARY KEY,
    integration TEXT NOT NULL,
    pixel_id TEXT NOT NULL,
    route TEXT NOT NULL,
    UNIQUE (integration, pixel_id, route)
);

-- One event on its way to one pixel. The unique index holds Meta's own identity of an event across time.
-- not_before is the end of the rule's delay; held is by_hand or empty; body is null once its retention is over.
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    event_name TEXT NOT NULL,
    pixel_id TEXT NOT NULL,
    destination INTEGER NOT NULL REFERENCES destination (seq),
    postback TEXT NOT NULL,
    subid TEXT NOT NULL,
    tid TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    deadline REAL NOT NULL,
    not_before REAL NOT NULL,
    body BLOB,
    configuration TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    held TEXT NOT NULL DEFAULT '',
    due_at REAL NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    ended_at REAL,
    UNIQUE (event_id, event_name, pixel_id)
);
CREATE INDEX delivery_due ON delivery (destination, due_at, seq) WHERE state = 'queued' AND held = '';
CREATE INDEX delivery_open ON delivery (deadline) WHERE state = 'queued';
CREATE INDEX delivery_leased ON delivery (seq) WHERE state = 'leased';
CREATE INDEX delivery_subid ON delivery (subid);
CREATE INDEX delivery_postback ON delivery (postback);
CREATE INDEX delivery_age ON delivery (created_at) WHERE state IN ('delivered', 'dead');
CREATE INDEX delivery_ended ON delivery (ended_at) WHERE ended_at IS NOT NULL AND body IS NOT NULL;

-- A rejected or trash conversion: a delayed event of the same (subid, tid) is not sent after it.
CREATE TABLE withdrawal (
    seq INTEGER PRIMARY KEY,
    subid TEXT NOT NULL,
    tid TEXT NOT NULL,
    received_at REAL NOT NULL
);
CREATE INDEX withdrawal_of ON withdrawal (subid, tid);
CREATE INDEX withdrawal_age ON withdrawal (received_at);

-- One try of a delivery, with Meta's answer and what it means.
CREATE TABLE attempt (
    seq INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL,
    at REAL NOT NULL,
    took REAL NOT NULL,
    proxy INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    whose TEXT NOT NULL,
    words TEXT NOT NULL,
    http_status INTEGER,
    code INTEGER,
    subcode INTEGER,
    fbtrace_id TEXT NOT NULL
);
CREATE INDEX attempt_delivery ON attempt (delivery);
CREATE INDEX attempt_age ON attempt (at);
