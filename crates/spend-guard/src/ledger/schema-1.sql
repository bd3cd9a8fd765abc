-- One row per intent. `body` is the whole intent as JSON; the columns repeat what is searched for.
CREATE TABLE intents (
    seq             INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL UNIQUE,
    identity        TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    open            INTEGER NOT NULL,
    merchant        TEXT    NOT NULL,
    -- The reference of a declared intent.
    declared        TEXT,
    mandate_id      TEXT,
    idempotency_key TEXT    NOT NULL,
    -- Set while the intent is released when its time passes.
    expires_at      INTEGER,
    body            TEXT    NOT NULL
) STRICT;

-- Two processes can never hold two open intents for one purchase.
CREATE UNIQUE INDEX intents_open ON intents (identity) WHERE open = 1;
CREATE UNIQUE INDEX intents_declared ON intents (declared) WHERE declared IS NOT NULL AND open = 1;
CREATE INDEX intents_reference ON intents (declared, seq) WHERE declared IS NOT NULL;
CREATE INDEX intents_identity ON intents (identity, seq);
CREATE INDEX intents_mandate ON intents (mandate_id, seq) WHERE mandate_id IS NOT NULL;
CREATE INDEX intents_key ON intents (idempotency_key, seq);
CREATE INDEX intents_expiry ON intents (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX intents_state ON intents (state, seq);
CREATE INDEX intents_merchant ON intents (merchant, seq);

-- What belongs to an intent and is too large or too private to travel with it.
CREATE TABLE artefacts (
    seq       INTEGER PRIMARY KEY,
    intent_id TEXT    NOT NULL REFERENCES intents (id),
    name      TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    content   TEXT    NOT NULL
) STRICT;

CREATE INDEX artefacts_intent ON artefacts (intent_id, name, seq);

-- The hash chain: `entry` is canonical JSON, `entry_hash` is base64url(SHA-256(entry)), and every entry names the hash
-- of the one before.
CREATE TABLE journal (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    intent_id  TEXT,
    entry      TEXT    NOT NULL,
    entry_hash TEXT    NOT NULL
) STRICT;

CREATE INDEX journal_intent ON journal (intent_id, seq) WHERE intent_id IS NOT NULL;
CREATE INDEX journal_event ON journal (event, seq) WHERE intent_id IS NULL OR event = 'alert';

-- What money is counted by, and how it stands now. The series whose other dimensions are empty counts a whole currency.
CREATE TABLE series (
    id             INTEGER PRIMARY KEY,
    currency       TEXT    NOT NULL,
    merchant       TEXT    NOT NULL,
    category       TEXT    NOT NULL,
    mcc            TEXT    NOT NULL,
    agent          TEXT    NOT NULL,
    reserved_minor INTEGER NOT NULL DEFAULT 0,
    settled_minor  INTEGER NOT NULL DEFAULT 0,
    settled_count  INTEGER NOT NULL DEFAULT 0,
    begun_count    INTEGER NOT NULL DEFAULT 0,
    newest_at      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (currency, merchant, category, mcc, agent)
) STRICT;

CREATE INDEX series_merchant ON series (merchant);

-- How a series stood at the end of each second in which something happened. What lies in a window is the difference of two
-- such standings, so its cost does not depend on how much that is.
CREATE TABLE totals (
    series        INTEGER NOT NULL REFERENCES series (id),
    at            INTEGER NOT NULL,
    settled_minor INTEGER NOT NULL,
    settled_count INTEGER NOT NULL,
    begun_count   INTEGER NOT NULL,
    PRIMARY KEY (series, at)
) STRICT, WITHOUT ROWID;
