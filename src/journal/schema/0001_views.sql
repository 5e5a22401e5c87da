-- Views for people with the sqlite3 shell. Times are UTC, spans are seconds, yes is 1 and no is 0.

-- Every entry, with the name of its cluster where the journal knows it.
CREATE VIEW entries AS
SELECT e.number, e.at AS time, e.project,
       (SELECT json_extract(n.data, '$.cluster_name') FROM entry n
         WHERE n.project = e.project AND n.cluster = e.cluster AND n.task = e.task AND n.event = 'first-seen'
         ORDER BY n.number LIMIT 1) AS cluster_name,
       e.cluster, e.task, e.event, e.data
  FROM entry e;

-- Each failure as it was first seen. "whole" is the task as the API showed it.
CREATE VIEW failures AS
SELECT number, time, project, cluster_name, cluster, task,
       json_extract(data, '$.number') AS failure,
       json_extract(data, '$.status') AS status,
       json_extract(data, '$.shape.execute_times') AS execute_times,
       json_extract(data, '$.shape.end_time') AS end_time,
       json_extract(data, '$.completed') AS completed,
       json_extract(data, '$.total') AS total,
       json_extract(data, '$.failing') AS failing,
       json_extract(data, '$.external') AS external_retries,
       json_extract(data, '$.too_old') AS too_old,
       json_extract(data, '$.seen_to_happen') AS seen_to_happen,
       round(json_extract(data, '$.seen_before.secs') + json_extract(data, '$.seen_before.nanos') / 1e9, 3)
         AS seen_before_seconds,
       json_extract(data, '$.terms.policy') AS policy,
       json_extract(data, '$.terms.mode') AS mode,
       json_extract(data, '$.whole') AS whole
  FROM entries WHERE event = 'failed';

-- What was sent, or was about to be: one row for each PUT, with its answer and how it was settled.
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
       s.at AS settled_at,
       json_extract(s.data, '$.settlement') AS settlement
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
          AND x.event = 'settled' AND json_extract(x.data, '$.attempt') = i.number)
 WHERE i.event = 'intent';

-- The first of the two readings that settle an attempt.
CREATE VIEW settling_readings AS
SELECT number, time, project, cluster_name, cluster, task,
       json_extract(data, '$.attempt') AS attempt,
       json_extract(data, '$.effect') AS effect,
       json_extract(data, '$.status') AS status,
       json_extract(data, '$.shape.execute_times') AS execute_times,
       json_extract(data, '$.shape.end_time') AS end_time
  FROM entries WHERE event = 'settling-reading';

-- What was decided, each time it was something else than before. "details" is the reason in JSON.
CREATE VIEW decisions AS
SELECT number, time, project, cluster_name, cluster, task,
       json_extract(data, '$.verdict') AS verdict,
       json_extract(data, '$.reason.code') AS reason,
       json_extract(data, '$.reason') AS details
  FROM entries WHERE event = 'decided';

-- What was handed to a human.
CREATE VIEW escalations AS
SELECT number, time, project, cluster_name, cluster, task,
       json_extract(data, '$.reason.code') AS reason,
       json_extract(data, '$.reason') AS details
  FROM entries WHERE event = 'escalated';

-- How stories ended.
CREATE VIEW closings AS
SELECT number, time, project, cluster_name, cluster, task,
       json_extract(data, '$.as') AS closed_as,
       json_extract(data, '$.by') AS superseded_by
  FROM entries WHERE event = 'closed';

-- Each task that was seen: when, its first failure, and where its lifecycle stands.
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
       c.at AS closed_at,
       json_extract(c.data, '$.as') AS closed_as,
       json_extract(f.data, '$.whole') AS whole
  FROM entry s
  LEFT JOIN entry f ON f.number = (
       SELECT min(x.number) FROM entry x
        WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event = 'failed')
  LEFT JOIN entry c ON c.number = (
       SELECT max(x.number) FROM entry x
        WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event = 'closed')
 WHERE s.event = 'first-seen'
   AND s.number = (
       SELECT min(x.number) FROM entry x
        WHERE x.project = s.project AND x.cluster = s.cluster AND x.task = s.task AND x.event = 'first-seen');
