-- Suggestions and their feedback as older installations still have them.
DO $$
BEGIN
    IF pg_catalog.to_regtype('public.suggestion_action') IS NULL THEN
        CREATE TYPE public.suggestion_action AS ENUM ('accept', 'reject');
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS public.suggestion_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    txn_id integer NOT NULL REFERENCES public.transactions (id) ON DELETE CASCADE,
    model_id varchar,
    features_hash varchar,
    candidates json NOT NULL,
    mode varchar NOT NULL,
    created_at timestamp without time zone DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE INDEX IF NOT EXISTS ix_suggestion_events_txn_id ON public.suggestion_events (txn_id);
CREATE INDEX IF NOT EXISTS ix_suggestion_events_created_at ON public.suggestion_events (created_at);

-- No index on event_id: the field often has none.
CREATE TABLE IF NOT EXISTS public.suggestion_feedback (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id uuid NOT NULL REFERENCES public.suggestion_events (id),
    txn_id integer NOT NULL,
    action public.suggestion_action NOT NULL,
    label varchar(128) NOT NULL,
    confidence double precision,
    reason text,
    user_id varchar(128),
    created_at timestamp without time zone DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE INDEX IF NOT EXISTS ix_suggestion_feedback_created_at ON public.suggestion_feedback (created_at);
