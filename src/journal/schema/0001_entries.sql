-- What was seen, decided, sent and answered. Entries are added, and never changed.
CREATE TABLE entry (
  number  INTEGER PRIMARY KEY AUTOINCREMENT, -- grows, is never used again; an intent's number is its attempt's id
  at      TEXT NOT NULL,                     -- RFC 3339, UTC, milliseconds: sorts as text
  project TEXT NOT NULL,                     -- the name in the settings
  cluster TEXT NOT NULL,                     -- the cluster's id
  task    TEXT NOT NULL,                     -- the task's id (the API's action_id)
  event   TEXT NOT NULL,                     -- the event's word, as in data
  data    TEXT NOT NULL CHECK (json_valid(data)) -- the event, in JSON
) STRICT;

CREATE INDEX entry_by_task ON entry (project, cluster, task, number);
CREATE INDEX entry_by_event ON entry (event, at);

CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry
BEGIN
  SELECT RAISE(ABORT, 'an entry of the journal is never changed');
END;

-- What was made once for this journal: journal-id, jitter-seed, created-at.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;
