-- Incidents: one open at most for each target. `firing` counts the signals that still speak of it, `signals` all that ever
-- did; `rose` says whether the newest one raised the severity. `executed`, `automatic` and `rejected` are what other stages
-- did about it; they decide its disposition.
CREATE TABLE incidents (
    id            text        PRIMARY KEY,
    key           text        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('INVESTIGATING', 'MITIGATING', 'RESOLVED', 'CLOSED')),
    severity      text        NOT NULL,
    cluster       text        NOT NULL,
    kind          text        NOT NULL,
    namespace     text        NOT NULL,
    name          text        NOT NULL,
    title         text        NOT NULL,
    labels        jsonb       NOT NULL,
    services      text[]      NOT NULL,
    firing        int         NOT NULL CHECK (firing >= 0),
    signals       int         NOT NULL,
    rose          boolean     NOT NULL DEFAULT false,
    executed      boolean     NOT NULL DEFAULT false,
    automatic     boolean     NOT NULL DEFAULT true,
    rejected      boolean     NOT NULL DEFAULT false,
    opened_at     timestamptz NOT NULL,
    resolved_at   timestamptz,
    closed_at     timestamptz,
    disposition   text,
    succeeded     boolean,
    effectiveness int         CHECK (effectiveness BETWEEN 1 AND 5),
    notes         text        NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX incidents_open ON incidents (key) WHERE state IN ('INVESTIGATING', 'MITIGATING');
CREATE INDEX incidents_opened_at ON incidents (opened_at DESC);
CREATE INDEX incidents_key ON incidents (key, opened_at DESC);

-- Occurrences of alerts: a fingerprint that began to fire at one time. At most one of a fingerprint is open. `began_at` is when
-- it began as far as one can know: some senders date the start into the future.
CREATE TABLE signals (
    fingerprint text        NOT NULL,
    starts_at   timestamptz NOT NULL,
    fired       boolean     NOT NULL,
    resolved    boolean     NOT NULL,
    open        boolean     NOT NULL,
    incident    text        NOT NULL,
    alert       text        NOT NULL,
    severity    text        NOT NULL,
    source      text        NOT NULL,
    event       text        NOT NULL,
    heard_at    timestamptz NOT NULL,
    began_at    timestamptz NOT NULL GENERATED ALWAYS AS (least(starts_at, heard_at)) STORED,
    ends_at     timestamptz,
    PRIMARY KEY (fingerprint, starts_at)
);
CREATE UNIQUE INDEX signals_open ON signals (fingerprint) WHERE open;
CREATE INDEX signals_incident ON signals (incident, heard_at) WHERE incident <> '';

-- The occurrences of an alert that matter for one from a time (that one, the newest and the open one), read under its lock.
CREATE FUNCTION known_occurrences(alert_fingerprint text, since timestamptz) RETURNS SETOF signals LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1397311310, hashtext(alert_fingerprint));
    RETURN QUERY SELECT * FROM signals s
      WHERE s.fingerprint = alert_fingerprint
        AND (s.open OR s.starts_at = since
             OR s.began_at = (SELECT max(n.began_at) FROM signals n WHERE n.fingerprint = alert_fingerprint));
END
$$;

-- Which problems an incident was about; each counts once for it. `labels` are those of the first signal of that alert.
CREATE TABLE incident_alerts (
    incident text   NOT NULL,
    alert    text   NOT NULL,
    anomaly  text   NOT NULL,
    labels   jsonb  NOT NULL,
    place    bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (incident, anomaly)
);

-- How often a problem (alert + target) came, and how each time ended.
CREATE TABLE recurrences (
    anomaly        text        PRIMARY KEY,
    count          int         NOT NULL,
    auto_repaired  int         NOT NULL DEFAULT 0,
    human_approved int         NOT NULL DEFAULT 0,
    rejected       int         NOT NULL DEFAULT 0,
    self_resolved  int         NOT NULL DEFAULT 0,
    last_at        timestamptz NOT NULL
);

-- Everything that was done about an incident, by whom and when. No foreign key: news may arrive in any order.
CREATE TABLE incident_timeline (
    incident text        NOT NULL,
    event    text        NOT NULL,
    what     text        NOT NULL,
    by       text        NOT NULL,
    at       timestamptz NOT NULL,
    place    bigint      GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (incident, event, what)
);
CREATE INDEX incident_timeline_at ON incident_timeline (incident, at, place);
