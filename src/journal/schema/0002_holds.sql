-- What people said is to be left alone, and until when.
CREATE TABLE hold (
  number       INTEGER PRIMARY KEY AUTOINCREMENT, -- grows, is never used again
  at           TEXT NOT NULL,                     -- when it began; RFC 3339, UTC, milliseconds, as every time here
  scope        TEXT NOT NULL,                     -- all, project:NAME or cluster:ID
  cluster_name TEXT,                              -- the cluster's name, where the scope is one
  until        TEXT,                              -- its end; NULL: until it is released
  reason       TEXT NOT NULL,
  placed_by    TEXT NOT NULL,                     -- the peer of the control socket: "uid 1000"
  released_at  TEXT,
  released_by  TEXT
) STRICT;

-- The holds that nobody released and that have not ended.
CREATE VIEW holds AS
SELECT number, at AS since, scope, cluster_name, until, reason, placed_by
  FROM hold
 WHERE released_at IS NULL AND (until IS NULL OR until > strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

-- How the breaker of each project opened and closed.
CREATE VIEW breaker AS
SELECT number, time, project, event,
       coalesce(json_extract(data, '$.opening.because'), json_extract(data, '$.because')) AS because,
       coalesce(json_extract(data, '$.opening.attempt'), json_extract(data, '$.attempt')) AS attempt,
       json_extract(data, '$.opening.failures') AS failures,
       json_extract(data, '$.cooldown.secs') AS cooldown_seconds,
       cluster_name, cluster, task
  FROM entries WHERE event IN ('breaker-opened', 'breaker-closed');
