-- What says something of a playbook, and as how many outcomes it counts in the mean: a failure as two, as three where a critic had objected.
ALTER TABLE playbook_ledger
    ADD COLUMN kind text NOT NULL DEFAULT 'verified' CHECK (kind IN ('verified', 'misdiagnosed', 'executed')),
    ADD COLUMN weight int NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 3);
UPDATE playbook_ledger SET weight = 2 WHERE NOT success;

-- When a person last decided about a version. A rule weighs only what was told after that.
ALTER TABLE playbooks ADD COLUMN decided_at timestamptz;
UPDATE playbooks SET decided_at = changed_at WHERE changed_at > created_at;

-- Which operations a learned playbook comes from: the successes behind it.
CREATE TABLE playbook_sources (
    playbook  text        NOT NULL,
    operation text        NOT NULL,
    incident  text        NOT NULL,
    event     text        NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (playbook, operation)
);
CREATE INDEX playbook_sources_incident ON playbook_sources (incident);

-- Of one alert and one pattern there may be several learned playbooks, where the alert is about something else each time.
DROP INDEX playbooks_learned;
CREATE INDEX playbooks_learned ON playbooks (alert, pattern) WHERE alert <> '';
