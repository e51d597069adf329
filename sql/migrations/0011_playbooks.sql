-- A playbook has a name and versions, and each version is a whole file, kept as JSON in `body`. What was learned before becomes the
-- first version of a playbook of its own: it fits the very target on which it was learned.
CREATE TABLE playbook_versions (
    name       text             NOT NULL,
    version    int              NOT NULL,
    status     text             NOT NULL CHECK (status IN ('draft', 'approved', 'deprecated')),
    body       text             NOT NULL,
    alert      text             NOT NULL DEFAULT '',
    pattern    text             NOT NULL DEFAULT '',
    source     text             NOT NULL,
    confidence double precision NOT NULL,
    created_at timestamptz      NOT NULL,
    created_by text             NOT NULL,
    changed_at timestamptz      NOT NULL,
    changed_by text             NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE UNIQUE INDEX playbook_versions_learned ON playbook_versions (alert, pattern) WHERE alert <> '';

INSERT INTO playbook_versions
SELECT 'learned-' || substr(md5(p.alert || ' ' || p.pattern), 1, 12), 1, p.status,
    jsonb_build_object(
        'name', 'learned-' || substr(md5(p.alert || ' ' || p.pattern), 1, 12),
        'title', left(p.title, 200),
        'owner', left(coalesce(nullif(p.changed_by, ''), 'learn'), 200),
        'symptoms', jsonb_build_object(
            'alerts', jsonb_build_array('alertname=' || to_jsonb(p.alert)::text),
            'services', coalesce(p.symptoms::jsonb -> 'services', '[]'),
            'severities', coalesce(p.symptoms::jsonb -> 'severities', '[]'),
            'targets', jsonb_build_array(concat(t.about ->> 'cluster', '/', t.about ->> 'namespace', '/', t.about ->> 'kind', '/', t.about ->> 'name'))
        ),
        'steps', (
            SELECT jsonb_agg((step - 'target' - 'uid') || CASE step ->> 'do'
                WHEN 'RollBackWorkload' THEN '{"to_revision": "{evidence.rollout.good}", "when": ["evidence.rollout.began == true"]}'::jsonb
                WHEN 'RestartWorkload' THEN '{"when": ["evidence.restart.may_help == true"]}'::jsonb
                WHEN 'ScaleWorkload' THEN jsonb_build_object('when', jsonb_build_array('evidence.workload.desired < ' || (step ->> 'replicas')))
                WHEN 'SetMemoryLimit' THEN '{"memory": "{evidence.memory.doubled}", "when": ["evidence.pods.out_of_memory > 0"]}'::jsonb
                WHEN 'SetAutoscalerBounds' THEN '{"autoscaler": "{evidence.autoscaler.name}",
                    "minimum": "{evidence.autoscaler.minimum}", "maximum": "{evidence.autoscaler.more}"}'::jsonb
                WHEN 'DeletePod' THEN '{"pod": "{evidence.lost.pod}"}'::jsonb
                WHEN 'EvictPod' THEN '{"pod": "{evidence.lost.pod}"}'::jsonb
                ELSE '{}'::jsonb END)
            FROM jsonb_array_elements(p.steps::jsonb) AS step
        )
    )::text,
    p.alert, p.pattern, p.source, p.confidence, p.created_at, p.changed_by, p.created_at, p.changed_by
FROM playbooks p CROSS JOIN LATERAL (SELECT p.steps::jsonb -> 0 -> 'target' AS about) t;

DROP TABLE playbooks;
ALTER TABLE playbook_versions RENAME TO playbooks;
ALTER INDEX playbook_versions_learned RENAME TO playbooks_learned;

-- Counts every change of a playbook, so that whoever holds them in memory knows when to read them again.
CREATE TABLE playbook_changes (one boolean PRIMARY KEY DEFAULT true CHECK (one), changes bigint NOT NULL);
INSERT INTO playbook_changes (changes) VALUES (0);
