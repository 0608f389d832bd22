-- How far the sweeps have come. `since` and `until` are on the clock of the app's database; `after_at` and `after_key` are
-- the row at which the last page ended, as that database showed it.
CREATE TABLE sweeps (
    lane        text COLLATE "C" NOT NULL PRIMARY KEY,
    since       bigint,
    until       bigint,
    after_at    text,
    after_key   text,
    began_at    bigint,
    counts      text,
    covered_to  bigint,
    reached     bigint,
    covered_at  bigint,
    finished_at bigint,
    last        text NOT NULL
);

-- Rows that the next look reads once more: keyed codes of all that they said.
CREATE TABLE swept (
    code text COLLATE "C" NOT NULL PRIMARY KEY,
    at   bigint NOT NULL
);

CREATE INDEX swept_at ON swept (at);
