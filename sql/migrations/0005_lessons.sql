-- The knowledge base: one entry for every execution, whichever way it was allowed and however it ended.
-- Its execution and its verification are told by different events that may come in any order: each fills its own columns.
CREATE TABLE lessons (
    id           text PRIMARY KEY,
    incident     text        NOT NULL,
    approval     text        NOT NULL,
    alert        text        NOT NULL,
    category     text        NOT NULL,
    target       text        NOT NULL,
    services     text[]      NOT NULL,
    pattern      text        NOT NULL,
    action       text        NOT NULL,
    what         text        NOT NULL,
    risk         text        NOT NULL,
    path         text        NOT NULL CHECK (path IN ('automatic', 'approved', 'unknown')),
    playbook     text        NOT NULL,
    tags         text[]      NOT NULL,
    words        text        NOT NULL,
    outcome      text        NOT NULL,
    seconds      double precision,
    error        text        NOT NULL DEFAULT '',
    executed_at  timestamptz,
    execution    text        NOT NULL DEFAULT '',
    verdict      text        NOT NULL DEFAULT '',
    summary      text        NOT NULL DEFAULT '',
    score        double precision,
    verified_at  timestamptz,
    verification text        NOT NULL DEFAULT '',
    search       tsvector GENERATED ALWAYS AS (
        to_tsvector('simple'::regconfig, words || ' ' || outcome || ' ' || verdict || ' ' || translate(summary || ' ' || error, '/:-_.,()', '        '))
    ) STORED
);
CREATE INDEX lessons_search ON lessons USING gin (search);
CREATE INDEX lessons_incident ON lessons (incident);
CREATE INDEX lessons_pattern ON lessons (pattern);

-- Known remedies and the symptoms they fit.
CREATE TABLE playbooks (
    id         text PRIMARY KEY,
    title      text        NOT NULL,
    status     text        NOT NULL CHECK (status IN ('draft', 'approved', 'deprecated')),
    alert      text        NOT NULL,
    pattern    text        NOT NULL,
    symptoms   text        NOT NULL,
    steps      text        NOT NULL,
    source     text        NOT NULL,
    confidence double precision NOT NULL,
    created_at timestamptz NOT NULL,
    changed_by text        NOT NULL,
    UNIQUE (alert, pattern)
);

-- What became of a playbook's uses: one row for each verification, folded in the order of event times.
CREATE TABLE playbook_ledger (
    event    text PRIMARY KEY,
    playbook text        NOT NULL,
    at       timestamptz NOT NULL,
    success  boolean     NOT NULL
);
CREATE INDEX playbook_ledger_playbook ON playbook_ledger (playbook, at, event);
CREATE TABLE playbook_trust (
    playbook  text PRIMARY KEY,
    trust     double precision NOT NULL,
    successes int         NOT NULL,
    failures  int         NOT NULL,
    last_at   timestamptz NOT NULL
);

-- What failure_watch has classified: one row for each thing that failed, so that nobody is asked twice about it.
CREATE TABLE failures (
    about      text PRIMARY KEY,
    event      text        NOT NULL,
    incident   text        NOT NULL,
    operation  text        NOT NULL,
    failure    text        NOT NULL,
    risk       text        NOT NULL,
    confidence double precision NOT NULL,
    summary    text        NOT NULL,
    at         timestamptz NOT NULL
);
CREATE INDEX failures_at ON failures (at);

-- Which channel has been sent which event: a retry for one channel sends nothing twice to another.
CREATE TABLE notifications (
    event   text        NOT NULL,
    channel text        NOT NULL,
    sent_at timestamptz NOT NULL,
    PRIMARY KEY (event, channel)
);
CREATE INDEX notifications_sent ON notifications (sent_at);
