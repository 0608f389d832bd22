-- Folds triggers into their rows. The single values: now, the urgent runs per window, the window, and how long a dead row
-- stays dead after a revival.
-- One statement for many rows: each trigger is joined with its row as it was, and the new row is computed whole.
-- A run that is planned, has not begun and comes early enough covers the trigger already: then nothing is written. Whoever
-- claims that run reads Crisp and the app's database later than this statement looked, and so sees what was told here.
-- Which trigger stands on a row is decided by their standing, which the code knows. What stands last makes nothing
-- more urgent that somebody else asked for: strangers would spend what is kept for that.
WITH asked (kind, website, key, triggers, priority, trigger, standing, debounce, urgent_at, normal_at, fresh, timer_at)
AS MATERIALIZED ({rows}),
met AS (
    SELECT asked.*,
           old.want_gen, old.done_gen, old.run_at AS old_run_at, old.not_before AS old_not_before,
           old.attempts AS old_attempts, old.crashes AS old_crashes, old.state AS old_state,
           old.trigger AS old_trigger, {standing} AS old_standing, old.priority AS old_priority,
           old.first_triggered_at AS old_first, old.fresh_ms AS old_fresh, old.done_at,
           old.urgent_since, old.urgent_count, old.dead_at AS old_dead_at, old.revived_at AS old_revived_at,
           old.lease_token IS NOT NULL AS leased,
           -- Leased, and triggered since it was claimed.
           coalesce(old.lease_token IS NOT NULL AND old.want_gen > old.claimed_gen, FALSE) AS waits_for_lease,
           -- A run is already planned that has not begun.
           coalesce(old.state = 'ready' AND old.want_gen > coalesce(CASE WHEN old.lease_token IS NOT NULL
               THEN old.claimed_gen END, old.done_gen), FALSE) AS planned,
           coalesce(old.state = 'dead' AND (old.revived_at IS NULL OR old.revived_at <= {now} - {revive_every}), FALSE) AS revives,
           coalesce(asked.standing = {last} AND {standing} < {last} AND (old.lease_token IS NOT NULL
               OR old.state = 'ready' AND old.want_gen > old.done_gen), FALSE) AS yields,
           CASE WHEN old.done_at IS NULL OR old.unsettled = 1 THEN asked.debounce ELSE 0 END AS wait,
           CASE WHEN old.done_at IS NULL OR old.unsettled = 1 THEN 0
                ELSE old.done_at + asked.fresh END AS fresh_until,
           coalesce(old.urgent_since > {now} - {urgent_window}, FALSE) AS in_window
    FROM asked
    LEFT JOIN work AS old ON old.kind = asked.kind AND old.website = asked.website AND old.key = asked.key
),
timed AS (
    SELECT met.*,
           min(coalesce(CASE WHEN in_window AND urgent_count >= {urgent_limit}
                             THEN max(urgent_at + wait, urgent_since + {urgent_window})
                             ELSE urgent_at + wait END, 9223372036854775807),
               coalesce(max(normal_at + wait, fresh_until), 9223372036854775807),
               coalesce(timer_at, 9223372036854775807)) AS next_run
    FROM met
),
judged AS (
    SELECT timed.*,
           urgent_at IS NOT NULL AND NOT (planned AND old_run_at <= next_run) AS spends,
           NOT yields AND (NOT planned OR standing < old_standing
               OR (standing = old_standing AND (next_run < old_run_at OR priority < old_priority))) AS leads,
           CASE WHEN urgent_at IS NULL AND normal_at IS NULL THEN max(timer_at, {now}) ELSE {now} END AS first,
           CASE WHEN urgent_at IS NULL AND timer_at IS NULL THEN fresh ELSE 0 END AS asked_fresh
    FROM timed
)
INSERT INTO work (kind, website, key, want_gen, run_at, not_before, attempts, crashes, state, trigger, priority,
                  first_triggered_at, fresh_ms, urgent_since, urgent_count, dead_at, revived_at)
SELECT kind, website, key,
       coalesce(want_gen, 0) + triggers,
       CASE WHEN planned THEN min(old_run_at, next_run) ELSE next_run END,
       CASE WHEN revives THEN 0 ELSE coalesce(old_not_before, 0) END,
       CASE WHEN revives THEN 0 ELSE coalesce(old_attempts, 0) END,
       CASE WHEN revives THEN 0 ELSE coalesce(old_crashes, 0) END,
       CASE WHEN old_state = 'dead' AND NOT revives THEN 'dead' ELSE 'ready' END,
       CASE WHEN leads THEN trigger ELSE old_trigger END,
       CASE WHEN yields THEN old_priority WHEN planned THEN min(old_priority, priority) ELSE priority END,
       CASE WHEN planned OR old_state = 'dead' THEN min(old_first, first) ELSE first END,
       CASE WHEN waits_for_lease THEN min(old_fresh, asked_fresh) ELSE asked_fresh END,
       CASE WHEN spends AND NOT in_window THEN {now} ELSE urgent_since END,
       CASE WHEN NOT spends THEN coalesce(urgent_count, 0) WHEN in_window THEN urgent_count + 1 ELSE 1 END,
       CASE WHEN revives THEN NULL ELSE old_dead_at END,
       CASE WHEN revives THEN {now} ELSE old_revived_at END
FROM judged
WHERE NOT (planned AND NOT leads AND NOT leased AND old_run_at <= next_run AND old_priority <= priority AND old_first <= first)
ON CONFLICT (kind, website, key) DO UPDATE SET
    want_gen = excluded.want_gen,
    run_at = excluded.run_at,
    not_before = excluded.not_before,
    attempts = excluded.attempts,
    crashes = excluded.crashes,
    state = excluded.state,
    trigger = excluded.trigger,
    priority = excluded.priority,
    first_triggered_at = excluded.first_triggered_at,
    fresh_ms = excluded.fresh_ms,
    urgent_since = excluded.urgent_since,
    urgent_count = excluded.urgent_count,
    dead_at = excluded.dead_at,
    revived_at = excluded.revived_at
