-- How far the sweeps have come. `since` and `until` are on the clock of the app's database; `after_at` and `after_key` are
-- the row at which the last page ended, as that database showed it.
CREATE TABLE sweeps (
    lane        TEXT NOT NULL PRIMARY KEY,
    since       INTEGER,
    until       INTEGER,
    after_at    TEXT,
    after_key   TEXT,
    began_at    INTEGER,
    counts      TEXT,
    covered_to  INTEGER,
    reached     INTEGER,
    covered_at  INTEGER,
    finished_at INTEGER,
    last        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows that the next look reads once more: keyed codes of all that they said.
CREATE TABLE swept (
    code TEXT NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX swept_at ON swept (at);
