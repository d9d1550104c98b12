-- What a database of somebody else's says of its own tables. Nothing of Reverie's is named here.

-- name: table
-- The table that is meant, as it is written in SQL, and whether its rows lie somewhere; views count.
SELECT c.oid::regclass::text, c.relkind IN ('r', 'm', 'p') FROM pg_class c
WHERE c.oid = coalesce(to_regclass(%s), to_regclass(%s)) AND c.relkind IN ('r', 'v', 'm', 'p', 'f')

-- name: tables
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 1 LIMIT 50

-- name: columns
SELECT a.attname, format_type(a.atttypid, NULL), t.typcategory::text
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: unique
-- Columns that are unique by themselves, the primary key first.
SELECT a.attname
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1
ORDER BY i.indisprimary DESC, a.attnum

-- name: keys
-- Foreign keys of one column that lead to the table, and those of the tables that these are of.
SELECT k.conrelid::regclass::text, s.attname, k.confrelid::regclass::text, d.attname
FROM pg_constraint k
JOIN pg_attribute s ON s.attrelid = k.conrelid AND s.attnum = k.conkey[1]
JOIN pg_attribute d ON d.attrelid = k.confrelid AND d.attnum = k.confkey[1]
WHERE k.contype = 'f' AND cardinality(k.conkey) = 1
  AND (k.confrelid = to_regclass(%s)
       OR k.conrelid IN (SELECT o.conrelid FROM pg_constraint o WHERE o.contype = 'f' AND o.confrelid = to_regclass(%s)))
ORDER BY 1, 2
