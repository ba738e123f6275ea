-- Engine version 3: what the measurements at 10 million events changed in the refresh.

-- Two workers for the open days, whose rows the planner can only guess at, took twice as long as none: their nested
-- loops read what one process finds in its own cache. docs/decisions/0018-days-without-workers.md has the figures.
ALTER FUNCTION ledgerviews.fill_nested(text, date, date) SET max_parallel_workers_per_gather = 0;
ALTER FUNCTION ledgerviews.fill_nested(text, date, date) RESET parallel_setup_cost;
