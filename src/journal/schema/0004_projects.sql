-- Which project is kept under which name. Its id says which one it is; the name in the settings may change, and what is
-- kept of a project is then kept under the new one.
CREATE TABLE project (
  id   TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE -- as in entry.project and in hold.scope
) STRICT;

-- Of an entry the name of its project may change, and nothing else.
DROP TRIGGER entry_is_never_changed;
CREATE TRIGGER entry_is_never_changed BEFORE UPDATE OF number, at, cluster, task, event, data ON entry
BEGIN
  SELECT RAISE(ABORT, 'an entry of the journal is never changed');
END;
