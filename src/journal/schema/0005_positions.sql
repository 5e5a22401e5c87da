-- The history is read by time: numbers of two projects say nothing about which line was first.
CREATE INDEX entry_by_time ON entry (at, project, number);

-- Up to which entry those of a project were turned into notes.
ALTER TABLE reading RENAME TO former_reading;
CREATE TABLE reading (
  project TEXT NOT NULL, -- names may be exchanged, so that the key cannot be unique
  through INTEGER NOT NULL
) STRICT;
CREATE INDEX reading_by_project ON reading (project);
INSERT INTO reading (project, through)
SELECT p.project, r.through FROM (SELECT DISTINCT project FROM entry WHERE task <> '') p, former_reading r;
DROP TABLE former_reading;

-- The notes that do not concern a channel are delivered to it.
DROP VIEW outbox;
INSERT OR IGNORE INTO delivery (channel, project, through, sending)
SELECT k.name, n.project, 0, NULL FROM channel k, (SELECT DISTINCT project FROM note) n;
UPDATE delivery SET through = max(through, coalesce((SELECT since FROM channel WHERE name = delivery.channel), 0));
ALTER TABLE channel DROP COLUMN since;

-- What each channel has still to tell.
CREATE VIEW outbox AS
SELECT k.name AS channel, n.number, n.at AS time, n.project, n.kind, n.entry, n.cluster, n.task
  FROM note n, json_each(n.channels) c
  JOIN channel k ON k.name = c.value
  LEFT JOIN delivery d ON d.channel = k.name AND d.project = n.project
 WHERE n.number > coalesce(d.through, 0);
