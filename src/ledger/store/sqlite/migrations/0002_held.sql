-- What Crisp said it holds while the conversation was being worked: judged when the result is settled, because most of
-- it is the echo of that very work.
CREATE TABLE held (
    website  TEXT NOT NULL,
    session  TEXT NOT NULL,
    data     TEXT,
    segments TEXT,
    PRIMARY KEY (website, session)
) STRICT, WITHOUT ROWID;
