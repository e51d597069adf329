-- English words by their stems, with no word left out: "down", "out" and "not" say something of an alert. Everything else is as in the
-- configuration "english"; what is searched is cut into words before it comes here.
CREATE TEXT SEARCH DICTIONARY knowledge_stem (TEMPLATE = snowball, Language = english);
CREATE TEXT SEARCH CONFIGURATION knowledge_words (COPY = english);
ALTER TEXT SEARCH CONFIGURATION knowledge_words ALTER MAPPING REPLACE english_stem WITH knowledge_stem;

-- What knowledge is folded together: an incident, or an operation that belongs to none. Its row is locked while it is folded.
CREATE TABLE knowledge_folds (
    about text PRIMARY KEY
);

-- One row for each event that says something of an execution: that it ended, how it was judged, or what a person noted.
CREATE TABLE knowledge_ledger (
    event     text PRIMARY KEY,
    about     text        NOT NULL,
    operation text        NOT NULL,
    kind      text        NOT NULL CHECK (kind IN ('execution', 'verification', 'note')),
    at        timestamptz NOT NULL,
    body      text        NOT NULL
);
CREATE INDEX knowledge_ledger_about ON knowledge_ledger (about);

-- The knowledge base: one entry for each execution, whichever way it was allowed and however it ended.
CREATE TABLE knowledge (
    id           text PRIMARY KEY,
    incident     text        NOT NULL,
    approval     text        NOT NULL,
    alert        text        NOT NULL,
    anomaly      text        NOT NULL,
    place        text        NOT NULL,
    category     text        NOT NULL,
    target       text        NOT NULL,
    services     text[]      NOT NULL,
    pattern      text        NOT NULL,
    verb         text        NOT NULL,
    counts       boolean     NOT NULL,
    action       text        NOT NULL,
    what         text        NOT NULL,
    risk         text        NOT NULL,
    path         text        NOT NULL,
    playbook     text        NOT NULL,
    tags         text[]      NOT NULL,
    notes        text[]      NOT NULL,
    result       text        NOT NULL,
    outcome      text        NOT NULL,
    seconds      double precision,
    error        text        NOT NULL,
    executed_at  timestamptz,
    execution    text        NOT NULL,
    verdict      text        NOT NULL,
    summary      text        NOT NULL,
    score        double precision,
    verified_at  timestamptz,
    verification text        NOT NULL,
    at           timestamptz NOT NULL,
    search       tsvector    NOT NULL
);
CREATE INDEX knowledge_search ON knowledge USING gin (search);
CREATE INDEX knowledge_at ON knowledge (at DESC, id DESC);
CREATE INDEX knowledge_alert ON knowledge (alert, at DESC);
CREATE INDEX knowledge_anomaly ON knowledge (anomaly);
CREATE INDEX knowledge_place ON knowledge (place);
