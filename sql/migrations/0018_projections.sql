-- What an outcome of a playbook is about, by its operation: of two about one, the earlier one counts.
ALTER TABLE playbook_ledger ADD COLUMN about text NOT NULL DEFAULT '';
UPDATE playbook_ledger p SET about = l.id FROM lessons l WHERE l.verification = p.event;
CREATE INDEX playbook_ledger_about ON playbook_ledger (about) WHERE about <> '';

-- How each operation on a problem ended: its execution and its verification are told by different events that may come in any order, and
-- each fills its own columns. `verdict` is empty where nothing was seen.
CREATE TABLE repair_ledger (
    operation    text        PRIMARY KEY,
    incident     text        NOT NULL,
    anomaly      text        NOT NULL,
    verb         text        NOT NULL,
    failed       boolean     NOT NULL DEFAULT false,
    seconds      double precision,
    executed_at  timestamptz,
    execution    text        NOT NULL DEFAULT '',
    verdict      text        NOT NULL DEFAULT '',
    verified_at  timestamptz,
    verification text        NOT NULL DEFAULT ''
);
CREATE INDEX repair_ledger_anomaly ON repair_ledger (anomaly, verb);

-- The fold of it: how each kind of action has ended for one problem. `seconds` is the mean of those `timed`.
CREATE TABLE repairs (
    anomaly   text NOT NULL,
    verb      text NOT NULL,
    samples   int  NOT NULL,
    successes int  NOT NULL,
    timed     int  NOT NULL,
    seconds   double precision,
    PRIMARY KEY (anomaly, verb)
);

-- What is known of incidents for the counts in `recurrences`: for which problems each came, how it ended, and what was done for it and how
-- that was judged. `about` is the problem or the operation.
CREATE TABLE recurrence_ledger (
    incident  text        NOT NULL,
    kind      text        NOT NULL CHECK (kind IN ('came', 'ended', 'done', 'judged')),
    about     text        NOT NULL,
    at        timestamptz NOT NULL,
    event     text        NOT NULL,
    word      text        NOT NULL,
    automatic boolean,
    PRIMARY KEY (incident, kind, about)
);
CREATE INDEX recurrence_ledger_came ON recurrence_ledger (about) WHERE kind = 'came';

-- By which ingest knows how often a problem came.
CREATE INDEX incident_alerts_anomaly ON incident_alerts (anomaly);

-- When each projection was last built anew and last compared with the event log, and how many rows differed then.
CREATE TABLE projection_builds (
    name        text PRIMARY KEY,
    rebuilt_at  timestamptz,
    verified_at timestamptz,
    differing   bigint
);
