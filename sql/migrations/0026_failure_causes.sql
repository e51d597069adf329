-- Which incidents failed of one cause, and when people were last told of it as one: what repeats is told once, not a hundred times.
CREATE TABLE failure_causes (
    cause      text PRIMARY KEY,
    grouped_at timestamptz
);
CREATE TABLE failure_cause_incidents (
    cause    text        NOT NULL REFERENCES failure_causes (cause) ON DELETE CASCADE,
    incident text        NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (cause, incident)
);
CREATE INDEX failure_cause_incidents_at ON failure_cause_incidents (cause, at);
