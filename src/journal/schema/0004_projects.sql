-- Which project is kept under which name. Its id says which one it is; the name in the settings may change, and what is
-- kept of a project is then kept under the new one.
CREATE TABLE project (
  id   TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE -- as in entry.project
) STRICT;

-- Of an entry the name of its project may change, and nothing else.
DROP TRIGGER entry_is_never_changed;
CREATE TRIGGER entry_is_never_changed BEFORE UPDATE OF number, at, cluster, task, event, data ON entry
BEGIN
  SELECT RAISE(ABORT, 'an entry of the journal is never changed');
END;

-- The conditions that operators were notified of and that had not ended. What an earlier version kept is not taken over: a
-- condition that lasts is notified once more.
DROP TABLE condition;
CREATE TABLE condition (
  project TEXT NOT NULL, -- names may be exchanged, so that the key cannot be unique
  word    TEXT NOT NULL, -- its code, with the cluster where it is one of a cluster
  data    TEXT NOT NULL CHECK (json_valid(data))
) STRICT;
CREATE INDEX condition_by_project ON condition (project, word);

DROP VIEW IF EXISTS attempts;
DROP VIEW IF EXISTS settling_readings;
DROP VIEW IF EXISTS confirming_polls;
DROP VIEW IF EXISTS closings;
DROP VIEW IF EXISTS outcomes;
DROP VIEW IF EXISTS tasks;

-- What was sent, or was about to be: one row for each PUT, with its answer and what was confirmed of it.
CREATE VIEW attempts AS
SELECT i.number AS attempt, i.time, i.project, i.cluster_name, i.cluster, i.task,
       json_extract(i.data, '$.action') AS action,
       json_extract(i.data, '$.failure') AS failure,
       round(json_extract(i.data, '$.waited.secs') + json_extract(i.data, '$.waited.nanos') / 1e9, 3)
         AS waited_seconds,
       json_extract(i.data, '$.reason.code') AS reason,
       coalesce(json_extract(s.data, '$.settlement'),
                iif(n.number IS NOT NULL, 'not-sent', NULL),
                json_extract(a.data, '$.answer.meaning'),
                'no-answer') AS outcome,
       a.at AS answered_at,
       json_extract(a.data, '$.answer.meaning') AS meaning,
       json_extract(a.data, '$.answer.status') AS http_status,
       json_extract(a.data, '$.answer.code') AS code,
       json_extract(a.data, '$.answer.message') AS message,
       json_extract(a.data, '$.answer.request_id') AS request_id,
       round(json_extract(a.data, '$.answer.retry_after.secs')
             + json_extract(a.data, '$.answer.retry_after.nanos') / 1e9, 3) AS retry_after_seconds,
       f.at AS found_still_there_at,
       n.at AS not_sent_at,
       s.at AS confirmed_at,
       json_extract(s.data, '$.settlement') AS confirmation
  FROM entries i
  LEFT JOIN entry a ON a.number = (
       SELECT max(x.number) FROM entry x
        WHERE x.project = i.project AND x.cluster = i.cluster AND x.task = i.task AND x.number > i.number
          AND x.event = 'answered' AND json_extract(x.data, '$.attempt') = i.number)
  LEFT JOIN entry n ON n.number = (
       SELECT max(x.number) FROM entry x
        WHERE x.project = i.project AND x.cluster = i.cluster AND x.task = i.task AND x.number > i.number
          AND x.event = 'not-sent' AND json_extract(x.data, '$.attempt') = i.number)
  LEFT JOIN entry f ON f.number = (
       SELECT max(x.number) FROM entry x
        WHERE x.project = i.project AND x.cluster = i.cluster AND x.task = i.task AND x.number > i.number
          AND x.event = 'still-there' AND json_extract(x.data, '$.attempt') = i.number)
  LEFT JOIN entry s ON s.number = (
       SELECT max(x.number) FROM entry x
        WHERE x.project = i.project AND x.cluster = i.cluster AND x.task = i.task AND x.number > i.number
          AND x.event IN ('settled', 'confirmed') AND json_extract(x.data, '$.attempt') = i.number)
 WHERE i.event = 'intent';

-- The first of the two polls that confirm what a request did.
CREATE VIEW confirming_polls AS
SELECT number, time, project, cluster_name, cluster, task,
       json_extract(data, '$.attempt') AS attempt,
       json_extract(data, '$.effect') AS effect,
       json_extract(data, '$.status') AS status,
       json_extract(data, '$.shape.execute_times') AS execute_times,
       json_extract(data, '$.shape.end_time') AS end_time
  FROM entries WHERE event IN ('settling-reading', 'confirming-poll');

-- How tasks ended.
CREATE VIEW outcomes AS
SELECT number, time, project, cluster_name, cluster, task,
       replace(replace(json_extract(data, '$.as'), 'remedied', 'resolved'),
               'solved-by-others', 'resolved-externally') AS outcome,
       json_extract(data, '$.by') AS superseded_by
  FROM entries WHERE event IN ('closed', 'ended');

-- Each task that was seen: when, its first failure, and how it ended.
CREATE VIEW tasks AS
SELECT s.project, json_extract(s.data, '$.cluster_name') AS cluster_name, s.cluster, s.task,
       json_extract(s.data, '$.kind') AS kind,
       s.at AS first_seen,
       json_extract(s.data, '$.start_time') AS start_time,
       f.at AS first_failed,
       json_extract(f.data, '$.status') AS status_when_failed,
       json_extract(f.data, '$.completed') AS completed_when_failed,
       json_extract(f.data, '$.total') AS total,
       json_extract(f.data, '$.failing') AS failing,
       (SELECT count(*) FROM entry x
         WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event = 'failed') AS failures,
       (SELECT count(*) FROM entry x
         WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event = 'intent') AS attempts,
       (SELECT max(x.at) FROM entry x
         WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event = 'escalated')
         AS last_escalated,
       c.at AS ended_at,
       replace(replace(json_extract(c.data, '$.as'), 'remedied', 'resolved'),
               'solved-by-others', 'resolved-externally') AS outcome,
       json_extract(f.data, '$.whole') AS whole
  FROM entry s
  LEFT JOIN entry f ON f.number = (
       SELECT min(x.number) FROM entry x
        WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event = 'failed')
  LEFT JOIN entry c ON c.number = (
       SELECT max(x.number) FROM entry x
        WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event IN ('closed', 'ended'))
 WHERE s.event = 'first-seen'
   AND s.number = (
       SELECT min(x.number) FROM entry x
        WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event = 'first-seen');

-- Holds are entries whose subject is a scope: all (no project, no cluster), a project, or a cluster (no project). None has a
-- task. They keep their numbers.
INSERT INTO entry (at, project, cluster, task, event, data)
SELECT at, project, cluster, '', event, data FROM (
  SELECT at, number, 1 AS place, 'held' AS event,
         iif(scope LIKE 'project:%', substr(scope, 9), '') AS project,
         iif(scope LIKE 'cluster:%', substr(scope, 9), '') AS cluster,
         json_object('event', 'held', 'hold', number, 'cluster_name', cluster_name, 'until', until,
                     'reason', reason, 'by', placed_by) AS data
    FROM hold
  UNION ALL
  SELECT released_at, number, 2, 'released',
         iif(scope LIKE 'project:%', substr(scope, 9), ''), iif(scope LIKE 'cluster:%', substr(scope, 9), ''),
         json_object('event', 'released', 'hold', number, 'by', coalesce(released_by, ''))
    FROM hold WHERE released_at IS NOT NULL
) ORDER BY number, place;

DROP VIEW holds;
DROP TABLE hold;

-- The holds that nobody released and that have not ended.
CREATE VIEW holds AS
SELECT json_extract(h.data, '$.hold') AS number, h.at AS since,
       CASE WHEN h.project <> '' THEN 'project:' || h.project
            WHEN h.cluster <> '' THEN 'cluster:' || h.cluster ELSE 'all' END AS scope,
       json_extract(h.data, '$.cluster_name') AS cluster_name,
       json_extract(h.data, '$.until') AS until,
       json_extract(h.data, '$.reason') AS reason,
       json_extract(h.data, '$.by') AS placed_by
  FROM entry h
 WHERE h.event = 'held'
   AND (json_extract(h.data, '$.until') IS NULL
        OR json_extract(h.data, '$.until') > strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
   AND NOT EXISTS (SELECT 1 FROM entry r
                    WHERE r.event = 'released' AND json_extract(r.data, '$.hold') = json_extract(h.data, '$.hold'));

-- What was in force since when: version, mode, hash of the configuration, poll, limits and breaker, in JSON. For reports.
CREATE TABLE in_force (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at     TEXT NOT NULL,
  data   TEXT NOT NULL CHECK (json_valid(data))
) STRICT;
