-- What may have been paid: mandates that were presented and refused, or that ended without a verdict. It counts from when
-- the mandate was presented.
ALTER TABLE series ADD COLUMN unresolved_minor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN unresolved_minor INTEGER NOT NULL DEFAULT 0;

-- `expires_at` is also when the mandate of an intent in flight ends.
UPDATE intents SET expires_at = json_extract(body, '$.mandate.expires_at') WHERE state IN ('charging', 'unknown');
