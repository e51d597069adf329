-- There is one search, that of knowledge.
ALTER TABLE lessons DROP COLUMN search;
ALTER TABLE lessons DROP COLUMN words;
