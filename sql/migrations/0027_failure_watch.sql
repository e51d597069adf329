-- Consumer groups that settled nothing although entries waited: one row for each outage, which is over once it settles again.
CREATE TABLE group_outages (
    id            text PRIMARY KEY,
    group_name    text        NOT NULL,
    topic         text        NOT NULL,
    partition     int         NOT NULL,
    since         timestamptz NOT NULL,
    waiting       bigint      NOT NULL,
    oldest        double precision NOT NULL,
    told_at       timestamptz,
    over_at       timestamptz,
    over_told_at  timestamptz
);
CREATE UNIQUE INDEX group_outages_open ON group_outages (group_name, topic, partition) WHERE over_at IS NULL;
CREATE INDEX group_outages_untold ON group_outages (since) WHERE told_at IS NULL OR over_told_at IS NULL;

-- How the newest actions of a playbook were verified.
CREATE INDEX approvals_playbook ON approvals (playbook, requested_at) WHERE playbook <> '';
