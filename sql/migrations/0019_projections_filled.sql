-- What was known before these ledgers were there. Bodies are read as text: one that Postgres cannot take for JSON must not stop this.
INSERT INTO repair_ledger
SELECT l.id, l.incident, a.anomaly, split_part(l.pattern, ':', 1), l.outcome = 'failed' AND o.started_at IS NOT NULL, l.seconds, l.executed_at,
       l.execution, CASE WHEN v.body IS NOT NULL AND v.body !~ '[,{]"measured":true' THEN '' ELSE l.verdict END, l.verified_at, l.verification
  FROM lessons l JOIN operations o ON o.id = l.id
  JOIN (SELECT DISTINCT ON (incident) incident, anomaly FROM incident_alerts ORDER BY incident, place) a ON a.incident = l.incident
  LEFT JOIN event_log v ON v.id = l.verification AND v.type = 'VerificationFinished'
 WHERE split_part(l.pattern, ':', 1) NOT IN ('investigate', 'diagnose');
UPDATE repair_ledger SET verdict = '' WHERE verdict NOT IN ('success', 'failed', 'degraded');
INSERT INTO repairs
SELECT anomaly, verb, count(*), count(*) FILTER (WHERE verdict = 'success'), count(seconds), avg(seconds ORDER BY operation)
  FROM repair_ledger WHERE failed OR verdict <> '' GROUP BY anomaly, verb;

INSERT INTO recurrence_ledger
SELECT a.incident, 'came', a.anomaly, i.opened_at, '', '', NULL FROM incident_alerts a JOIN incidents i ON i.id = a.incident;
INSERT INTO recurrence_ledger
SELECT DISTINCT ON (i.id) i.id, 'ended', '', coalesce(e.at, i.resolved_at, i.opened_at), coalesce(e.id, ''),
       coalesce(substring(e.body FROM '[,{]"disposition":"([a-z_]+)"'), i.disposition), NULL
  FROM incidents i LEFT JOIN event_log e ON e.incident = i.id AND e.incident <> '' AND e.type = 'IncidentResolved'
 WHERE i.disposition IS NOT NULL ORDER BY i.id, e.at, e.id;
INSERT INTO recurrence_ledger
SELECT l.incident, 'done', l.id, l.executed_at, l.execution, CASE l.outcome WHEN 'failed' THEN 'failed' ELSE '' END, l.path = 'automatic'
  FROM lessons l JOIN operations o ON o.id = l.id
 WHERE l.execution <> '' AND o.started_at IS NOT NULL AND split_part(l.pattern, ':', 1) NOT IN ('investigate', 'diagnose');
INSERT INTO recurrence_ledger
SELECT l.incident, 'judged', l.id, l.verified_at, l.verification, CASE
       WHEN v.body !~ '[,{]"measured":true'
         OR v.body ~ '[,{]"ground":"(contained|changed_since|only_looked|nothing_before|action_unknown|unmeasured|still_firing|starting)"' THEN ''
       WHEN l.verdict = 'success' THEN CASE l.outcome WHEN 'succeeded' THEN 'healed' ELSE '' END
       WHEN l.verdict IN ('failed', 'degraded') THEN 'failed' ELSE '' END, l.path = 'automatic'
  FROM lessons l JOIN operations o ON o.id = l.id LEFT JOIN event_log v ON v.id = l.verification AND v.type = 'VerificationFinished'
 WHERE l.verification <> '' AND o.started_at IS NOT NULL AND split_part(l.pattern, ':', 1) NOT IN ('investigate', 'diagnose');

DELETE FROM recurrences;
INSERT INTO recurrences (anomaly, count, auto_repaired, human_approved, rejected, self_resolved, last_at)
SELECT c.about, count(*), count(*) FILTER (WHERE e.word = 'auto_repaired'), count(*) FILTER (WHERE e.word = 'human_approved'),
       count(*) FILTER (WHERE e.word = 'rejected'), count(*) FILTER (WHERE e.word = 'self_resolved'), max(c.at)
  FROM recurrence_ledger c LEFT JOIN (
       SELECT d.incident, CASE WHEN d.word IN ('auto_repaired', 'human_approved') OR done.last IS DISTINCT FROM 'healed' THEN d.word
              WHEN done.automatic THEN 'auto_repaired' ELSE 'human_approved' END AS word
         FROM recurrence_ledger d CROSS JOIN LATERAL (
              SELECT (array_agg(j.word ORDER BY j.at DESC, j.event DESC) FILTER (WHERE j.word <> ''))[1] AS last,
                     bool_and(j.automatic) AS automatic
                FROM recurrence_ledger j WHERE j.incident = d.incident AND j.kind IN ('done', 'judged')) AS done
        WHERE d.kind = 'ended') AS e USING (incident)
 WHERE c.kind = 'came' GROUP BY c.about;
