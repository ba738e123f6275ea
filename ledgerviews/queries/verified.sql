-- The latest run that compared all, and the latest whose scrub found drift that may still stand.
SELECT
    v.run_id AS verified_run,
    v.finished_at AS verified_at,
    d.run_id AS drift_run,
    d.finished_at AS drift_at,
    d.drift
FROM (SELECT 1 AS one) AS o
LEFT JOIN LATERAL (
    SELECT
        r.run_id,
        r.finished_at
    FROM ledgerviews.run AS r
    WHERE r.mode = 'verify' AND r.state = 'succeeded' AND r.requested IS NULL
    ORDER BY r.run_id DESC
    LIMIT 1
) AS v ON TRUE
LEFT JOIN LATERAL (
    SELECT
        r.run_id,
        r.finished_at,
        r.drift
    FROM ledgerviews.run AS r
    INNER JOIN ledgerviews.relation AS n
        ON
            -- The log has only the words: each relation before its days, and all but the first behind a semicolon (59).
            pg_catalog.starts_with(r.drift, n.schema_name || '.' || n.relation_name || ', days ')
            OR pg_catalog.strpos(
                r.drift,
                pg_catalog.chr(59) || ' ' || n.schema_name || '.' || n.relation_name || ', days '
            ) > 0
    LEFT JOIN ledgerviews.relation_state AS t
        ON n.schema_name = t.schema_name AND n.relation_name = t.relation_name
    WHERE
        r.drift IS NOT NULL
        AND (
            -- A run that came between the publication and its scrub has a later number, and mended nothing.
            pg_catalog.starts_with(t.rebuild, 'the scrub found ')
            OR NOT EXISTS (
                SELECT 1
                FROM ledgerviews.run AS l
                INNER JOIN ledgerviews.run_relation AS p ON l.run_id = p.run_id
                WHERE
                    l.run_id > r.run_id
                    AND l.state = 'succeeded'
                    AND p.schema_name = n.schema_name
                    AND p.relation_name = n.relation_name
                    AND (l.mode = 'verify' OR p.scope = 'all')
            )
        )
    ORDER BY r.run_id DESC
    LIMIT 1
) AS d ON TRUE;
