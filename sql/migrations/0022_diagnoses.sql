-- What was taken to be the cause, by whom, and whether what followed bears it out: one row for each operation that was verified.
-- `critic` is what a critic said of it, where one was asked, and `critic_bearing` whether what followed bears that out.
CREATE TABLE diagnoses (
    operation      text        PRIMARY KEY,
    event          text        NOT NULL,
    incident       text        NOT NULL,
    at             timestamptz NOT NULL,
    source         text        NOT NULL,
    provider       text        NOT NULL,
    playbook       text        NOT NULL,
    root_cause     text        NOT NULL,
    bearing        text        NOT NULL CHECK (bearing IN ('right', 'wrong', 'unknown')),
    critic         text        NOT NULL CHECK (critic IN ('', 'agreed', 'objected', 'unheard')),
    objection      text        NOT NULL,
    critic_bearing text        NOT NULL CHECK (critic_bearing IN ('', 'right', 'wrong', 'unknown'))
);
CREATE INDEX diagnoses_incident ON diagnoses (incident, at);

-- What an action, and the playbook that it is from, declared would be so afterwards, and what of it was; and how far it reached, as it was
-- foreseen when it was approved and as it was seen. NULL where it was not measured.
CREATE TABLE declarations (
    operation         text        PRIMARY KEY,
    event             text        NOT NULL,
    incident          text        NOT NULL,
    at                timestamptz NOT NULL,
    playbook          text        NOT NULL,
    verdict           text        NOT NULL,
    declared          text        NOT NULL,
    foreseen_pods     int,
    foreseen_downtime double precision,
    foreseen_tier     text        NOT NULL,
    touched_pods      int
);
CREATE INDEX declarations_incident ON declarations (incident, at);
