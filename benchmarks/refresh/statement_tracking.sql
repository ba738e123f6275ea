-- The other design of tracking, for comparison only: statement-level triggers with transition tables, which log
-- the distinct days of each statement, and of feedback the ids of its events.
CREATE TABLE ledgerviews.statement_event_change (day date, key uuid);
CREATE TABLE ledgerviews.statement_feedback_change (day date, key uuid);

CREATE FUNCTION ledgerviews.statement_event_track() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    INSERT INTO ledgerviews.statement_event_change (day)
    SELECT DISTINCT ledgerviews.utc_day(n.created_at) FROM new_rows AS n;
    RETURN NULL;
END
$body$;
CREATE FUNCTION ledgerviews.statement_feedback_track() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    INSERT INTO ledgerviews.statement_feedback_change (day, key)
    SELECT DISTINCT ledgerviews.utc_day(n.created_at), n.event_id FROM new_rows AS n;
    RETURN NULL;
END
$body$;

CREATE TRIGGER statement_insert AFTER INSERT ON public.suggestion_events
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION ledgerviews.statement_event_track();
ALTER TABLE public.suggestion_events ENABLE ALWAYS TRIGGER statement_insert;
CREATE TRIGGER statement_insert AFTER INSERT ON public.suggestion_feedback
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION ledgerviews.statement_feedback_track();
ALTER TABLE public.suggestion_feedback ENABLE ALWAYS TRIGGER statement_insert;
