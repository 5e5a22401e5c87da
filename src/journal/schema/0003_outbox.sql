-- What is still to be told, and to whom. The words are made when it is sent.
CREATE TABLE note (
  number   INTEGER PRIMARY KEY AUTOINCREMENT, -- grows, is never used again
  at       TEXT NOT NULL,                     -- when it happened; RFC 3339, UTC, milliseconds, as every time here
  project  TEXT NOT NULL,                     -- the name in the settings; '' where it is of none
  kind     TEXT NOT NULL,
  entry    INTEGER,                           -- the entry that it tells of; NULL: of none
  cluster  TEXT,
  task     TEXT,
  key      TEXT UNIQUE,                       -- of what is told at most once
  channels TEXT NOT NULL CHECK (json_valid(channels)), -- the names of those that are to tell it
  data     TEXT NOT NULL
) STRICT;

CREATE INDEX note_by_project ON note (project, number);

-- The channels that the settings name.
CREATE TABLE channel (
  name  TEXT PRIMARY KEY,
  since INTEGER NOT NULL -- the last note that does not concern it
) STRICT;

-- How far each channel has come with the notes of each project.
CREATE TABLE delivery (
  channel TEXT NOT NULL,
  project TEXT NOT NULL,
  through INTEGER NOT NULL, -- all notes up to this are told
  sending INTEGER,          -- a message that ends with this note is on its way
  PRIMARY KEY (channel, project)
) STRICT;

-- What was told of a project and lasts.
CREATE TABLE condition (
  project TEXT NOT NULL,
  word    TEXT NOT NULL,
  since   TEXT NOT NULL,
  sign    TEXT NOT NULL,
  data    TEXT NOT NULL,
  PRIMARY KEY (project, word)
) STRICT;

-- Up to which entry all were turned into notes. No row: nobody has begun to.
CREATE TABLE reading (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  through INTEGER NOT NULL
) STRICT;

-- What each channel has still to tell.
CREATE VIEW outbox AS
SELECT k.name AS channel, n.number, n.at AS time, n.project, n.kind, n.entry, n.cluster, n.task
  FROM note n, json_each(n.channels) c
  JOIN channel k ON k.name = c.value
  LEFT JOIN delivery d ON d.channel = k.name AND d.project = n.project
 WHERE n.number > max(k.since, coalesce(d.through, 0));
