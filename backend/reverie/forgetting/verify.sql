-- Looking again for what a receipt says is gone: by the ids that its tombstones name, as the owner of the schema. Every
-- block names the user.

-- name: ids
SELECT trace_id FROM tombstone WHERE user_id = %(user)s AND receipt_id = %(receipt)s ORDER BY trace_id

-- name: traces
SELECT count(*) FROM tombstone x JOIN memory_trace t ON t.user_id = x.user_id AND t.id = x.trace_id
WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s

-- name: bodies
SELECT count(*) FROM tombstone x JOIN memory_body t ON t.user_id = x.user_id AND t.trace_id = x.trace_id
WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s

-- name: vectors
SELECT count(*) FROM tombstone x JOIN memory_embedding t ON t.user_id = x.user_id AND t.trace_id = x.trace_id
WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s

-- name: edges
SELECT count(*) FROM memory_edge e
WHERE e.user_id = %(user)s AND (
    e.src IN (SELECT x.trace_id FROM tombstone x WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s)
    OR e.dst IN (SELECT x.trace_id FROM tombstone x WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s)
)

-- name: digests
SELECT count(*) FROM tombstone x JOIN memory_digest t ON t.user_id = x.user_id AND t.trace_id = x.trace_id
WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s

-- name: recalls
SELECT count(*) FROM tombstone x JOIN memory_access t ON t.user_id = x.user_id AND t.trace_id = x.trace_id
WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s

-- name: dismissals
SELECT count(*) FROM memory_dismissal d
WHERE d.user_id = %(user)s AND (
    d.trace_id IN (SELECT x.trace_id FROM tombstone x WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s)
    OR d.other_id IN (SELECT x.trace_id FROM tombstone x WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s)
)

-- name: removals
-- What is noted to be taken out of files, and is not yet.
SELECT count(*) FROM tombstone x JOIN cold_removal t ON t.user_id = x.user_id AND t.trace_id = x.trace_id
WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s

-- name: operations
SELECT count(*) FROM operation o
WHERE o.user_id = %(user)s AND o.kind <> %(kind)s AND EXISTS (
    SELECT FROM unnest(o.trace_ids || (o.payload ->> 'since')::uuid) AS t (id)
    WHERE t.id IN (SELECT x.trace_id FROM tombstone x WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s)
)

-- name: answers
SELECT count(*) FROM idempotency_key i
WHERE i.user_id = %(user)s AND i.response IS NOT NULL AND EXISTS (
    SELECT FROM regexp_matches(
        convert_from(i.response, 'UTF8'), '"(?:trace_id|src|dst)":"([0-9a-f-]{36})"', 'g'
    ) AS m (found)
    WHERE m.found[1]::uuid IN (
        SELECT x.trace_id FROM tombstone x WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s
    )
)

-- name: rebuilds
SELECT count(*) FROM rebuild r
WHERE r.user_id = %(user)s AND EXISTS (
    SELECT FROM unnest(r.sources) AS s (id)
    WHERE s.id IN (SELECT x.trace_id FROM tombstone x WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s)
)

-- name: provenance
SELECT count(*) FROM memory_trace t
WHERE t.user_id = %(user)s AND t.provenance ? 'sources' AND EXISTS (
    SELECT FROM tombstone x
    WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s AND t.provenance -> 'sources' ? x.trace_id::text
)

-- name: triples
SELECT count(*) FROM memory_edge e
WHERE e.user_id = %(user)s AND e.meta ? 'sources' AND EXISTS (
    SELECT FROM tombstone x
    WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s AND e.meta -> 'sources' ? x.trace_id::text
)

-- name: detached
-- Tables of text or vectors that no partition is made of.
SELECT c.relname FROM pg_class c
WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
  AND (starts_with(c.relname, 'memory_body_') OR starts_with(c.relname, 'memory_embedding_'))
  AND 2 = (SELECT count(*) FROM pg_attribute a
           WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN ('user_id', 'trace_id'))

-- name: in_detached
SELECT count(*) FROM tombstone x JOIN {table} t ON t.user_id = x.user_id AND t.trace_id = x.trace_id
WHERE x.user_id = %(user)s AND x.receipt_id = %(receipt)s

-- name: server
-- As far as the role may see: where the last checkpoint began, what keeps log beyond it, and which tables of text,
-- vectors, traces and sentences of traces were not vacuumed since a moment; so are their parts for what is long.
SELECT (SELECT (redo_lsn - '0/0'::pg_lsn)::bigint FROM pg_control_checkpoint()),
       current_setting('archive_mode'),
       (SELECT (setting::bigint * CASE unit WHEN 'MB' THEN 1 ELSE 0 END) FROM pg_settings WHERE name = 'wal_keep_size'),
       (SELECT count(*) FROM pg_replication_slots),
       (SELECT array_agg(s.relname ORDER BY s.relname)
        FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
        LEFT JOIN pg_stat_all_tables o ON o.relid = c.reltoastrelid
        WHERE s.schemaname = current_schema()
          AND (s.relname IN ('memory_trace', 'memory_digest') OR starts_with(s.relname, 'memory_body_')
               OR starts_with(s.relname, 'memory_embedding_'))
          AND (s.n_tup_del + s.n_tup_upd > 0
               AND coalesce(greatest(s.last_vacuum, s.last_autovacuum) < %(finished)s, true)
               OR o.n_tup_del + o.n_tup_upd > 0
               AND coalesce(greatest(o.last_vacuum, o.last_autovacuum) < %(finished)s, true)))
