-- A journal that several instances share. Times are the database's. Numbers count within a project and are drawn under the
-- lock of its row: they grow in the order of commits, without a gap.
CREATE TABLE @journal (
  one        int PRIMARY KEY CHECK (one = 1),
  id         text NOT NULL, -- which journal it is: 32 hexadecimal digits
  seed       text NOT NULL, -- of all jitter
  created_at timestamptz NOT NULL,
  schema     int NOT NULL,
  names      bigint NOT NULL DEFAULT 0, -- grows whenever names of projects change
  alive      timestamptz, -- when the daemon last lived
  refusals   text -- what is known of refused credentials
);

-- Each row is the gate to all that is kept of a project: whoever holds its term may write.
CREATE TABLE @project (
  key     int PRIMARY KEY, -- 0: what is of no project
  id      text UNIQUE, -- the cloud's project id; NULL: not known yet
  name    text NOT NULL UNIQUE DEFERRABLE INITIALLY IMMEDIATE, -- a label: it may change, and two may be exchanged
  term    bigint NOT NULL DEFAULT 0, -- the fencing token: grows with each taking
  last    bigint NOT NULL DEFAULT 0, -- the number of the last entry
  notes   bigint NOT NULL DEFAULT 0, -- the number of the last note
  through bigint -- entries up to this number are turned into notes; NULL: none are
) WITH (fillfactor = 50);
INSERT INTO @project (key, name) VALUES (0, '');

-- What was seen, decided, sent and answered. Entries are added, and never changed.
CREATE TABLE @entry (
  project int NOT NULL REFERENCES @project,
  number  bigint NOT NULL, -- an intent's number is its attempt's id
  term    bigint NOT NULL, -- under which it was written
  at      timestamptz NOT NULL,
  cluster text NOT NULL,
  task    text NOT NULL, -- the API's action_id
  event   text NOT NULL, -- the event's word, as in data
  name    text, -- the name of the cluster, in the entry that first shows a task
  data    json NOT NULL,
  PRIMARY KEY (project, number)
);
CREATE INDEX entry_by_task ON @entry (project, cluster, task, number);
CREATE INDEX entry_by_time ON @entry (at);
CREATE INDEX entry_by_name ON @entry (project, cluster, number) WHERE name IS NOT NULL;

-- Holds and their releases.
CREATE TABLE @scope (
  number  bigint PRIMARY KEY, -- drawn under the lock of the journal's row
  at      timestamptz NOT NULL,
  project int REFERENCES @project, -- of a project
  cluster text, -- of a cluster; neither: of all
  event   text NOT NULL,
  data    json NOT NULL
);

-- What is still to be notified, and by whom.
CREATE TABLE @note (
  project  int NOT NULL REFERENCES @project,
  number   bigint NOT NULL,
  at       timestamptz NOT NULL,
  kind     text NOT NULL,
  entry    bigint,
  cluster  text,
  task     text,
  key      text, -- of what is notified at most once
  channels text[] NOT NULL,
  data     text NOT NULL,
  PRIMARY KEY (project, number),
  UNIQUE (project, key)
);
CREATE TABLE @channel (name text PRIMARY KEY);
CREATE TABLE @delivery (
  channel text NOT NULL,
  project int NOT NULL REFERENCES @project,
  through bigint NOT NULL, -- all notes up to this are delivered
  sending bigint, -- a message that ends with this note is on its way
  PRIMARY KEY (channel, project)
);

-- The conditions that operators were notified of and that had not ended.
CREATE TABLE @condition (
  project int NOT NULL REFERENCES @project,
  word    text NOT NULL,
  data    json NOT NULL,
  PRIMARY KEY (project, word)
);

-- What was in force since when, in JSON: for reports.
CREATE TABLE @in_force (number bigint PRIMARY KEY, at timestamptz NOT NULL, data text NOT NULL);

-- What each channel has still to deliver.
CREATE VIEW @outbox AS
SELECT k.name AS channel, n.project, n.number
  FROM @note n JOIN @channel k ON k.name = ANY (n.channels)
  LEFT JOIN @delivery d ON d.channel = k.name AND d.project = n.project
 WHERE n.number > coalesce(d.through, 0);
