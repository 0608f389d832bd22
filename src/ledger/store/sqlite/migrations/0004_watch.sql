-- How far each website was listened to, and the look through its conversations that is under way.
CREATE TABLE listening (
    website      TEXT NOT NULL PRIMARY KEY,
    since        INTEGER NOT NULL,
    heard_at     INTEGER,
    checked_to   INTEGER,
    scan_from    INTEGER,
    scan_to      INTEGER,
    scan_page    INTEGER,
    unheard_at   INTEGER,
    silent_since INTEGER
) STRICT, WITHOUT ROWID;

-- Conditions that ask for a person, from when one is first seen until somebody was told that it is over.
CREATE TABLE conditions (
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL,
    since   INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    told_at INTEGER,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

-- What waits for a person is counted twice a minute, however long the outbox is.
CREATE INDEX outbox_waiting ON outbox (state) WHERE state IN ('held', 'unsure');
