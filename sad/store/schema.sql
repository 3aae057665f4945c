-- The journal of `sad`: one row for each association that is installing, installed or being
-- removed. The row is the association as JSON (sad.model.association), without any key.
-- It describes this boot's kernel and dies with it: meta.boot_id tells.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE association (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
