-- `roles` must be among those who sign; `cooled` are the rules with a cooldown that are about the action.
ALTER TABLE approvals ADD COLUMN roles text[] NOT NULL DEFAULT '{}', ADD COLUMN cooled text[] NOT NULL DEFAULT '{}';

-- The version of the policy that was in force: a short hash of its file.
ALTER TABLE decisions ADD COLUMN policy text NOT NULL DEFAULT '';

-- Who is asked after whom: how often the time to sign was given anew, and when people were reminded within the present one.
ALTER TABLE approvals ADD COLUMN escalated int NOT NULL DEFAULT 0, ADD COLUMN reminded_at timestamptz;

-- The roles that the signer had when the vote counted.
ALTER TABLE approval_signatures ADD COLUMN roles text[] NOT NULL DEFAULT '{}';
