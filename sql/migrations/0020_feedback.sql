-- What people said of how an incident was handled: every word of it once, by the event that brought it. Of one person (`rater` is the name
-- folded) the newest by (at, event) counts. `operations` are what had been begun by then: it is about these.
CREATE TABLE feedback (
    event      text        PRIMARY KEY,
    incident   text        NOT NULL,
    rater      text        NOT NULL,
    person     text        NOT NULL,
    rating     int         NOT NULL CHECK (rating BETWEEN 1 AND 5),
    note       text        NOT NULL,
    instead    text        NOT NULL,
    operations text[]      NOT NULL,
    origin     text        NOT NULL,
    at         timestamptz NOT NULL
);
CREATE INDEX feedback_incident ON feedback (incident, rater, at, event);
CREATE INDEX feedback_operations ON feedback USING gin (operations);

-- A person's rating moves every pattern that was tried for the incident. Of the ratings of one person about one incident (`about`) the
-- ledger has the newest.
ALTER TABLE trust_ledger DROP CONSTRAINT trust_ledger_pkey, DROP CONSTRAINT trust_ledger_kind_check;
ALTER TABLE trust_ledger ADD PRIMARY KEY (event, pattern), ADD CONSTRAINT trust_ledger_kind_check
    CHECK (kind IN ('success', 'failure', 'rejection', 'approval', 'praise', 'blame', 'indifference'));
DROP INDEX trust_ledger_once;
CREATE UNIQUE INDEX trust_ledger_once ON trust_ledger (about, kind) WHERE kind IN ('success', 'failure', 'rejection', 'approval');
CREATE UNIQUE INDEX trust_ledger_ratings ON trust_ledger (about, pattern) WHERE kind IN ('praise', 'blame', 'indifference');
