-- What an entry that was kept as bytes calls itself: the sweeper asks whether the archive has seen an output.
ALTER TABLE unreadable ADD COLUMN id text NOT NULL DEFAULT '';
CREATE INDEX unreadable_id ON unreadable (id);
