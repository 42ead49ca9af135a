-- Every statement that the store runs. An UPDATE of a state names the state that it expects.

-- name: add_postbacks
-- Postbacks that are not there yet, due at once; (:row) is repeated for each. Tells which were new.
INSERT INTO postback (id, received_at, stored_at, source, method, uri, type, body, fingerprint, state, due_at)
VALUES (:row)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: add_refused_postback
-- A postback that was journalled before the first start: kept for replay, never decided by itself.
INSERT INTO postback (id, received_at, stored_at, source, method, uri, type, body, fingerprint,
                      state, due_at, subid, decided_at, decision, reason)
VALUES (:id, :received_at, :stored_at, :source, :method, :uri, :type, :body, :fingerprint,
        'decided', 0, :subid, :stored_at, 'rejected', 'before_first_start')
ON CONFLICT (id) DO NOTHING;

-- name: fingerprint
-- What the first copy of an id looked like.
SELECT fingerprint FROM postback WHERE id = :id;

-- name: click
-- A click as it is known so far, complete or not.
SELECT clicked_at, body FROM click WHERE subid = :subid;

-- name: put_click
INSERT INTO click (subid, clicked_at, stored_at, has_fbclid, body)
VALUES (:subid, :clicked_at, :stored_at, :has_fbclid, :body)
ON CONFLICT (subid) DO UPDATE SET clicked_at = :clicked_at, has_fbclid = :has_fbclid, body = :body;

-- name: wake_waiting
-- The click that some postbacks wait for has come.
UPDATE postback SET due_at = 0 WHERE subid = :subid AND subid <> '' AND state = 'waiting';

-- name: journal
SELECT first_read_at FROM journal WHERE path = :path;

-- name: add_journal
INSERT INTO journal (path, first_read_at) VALUES (:path, :first_read_at) ON CONFLICT (path) DO NOTHING;

-- name: places
SELECT device, inode, head, position FROM place WHERE journal = :journal;

-- name: put_place
INSERT INTO place (journal, device, inode, head, position) VALUES (:journal, :device, :inode, :head, :position)
ON CONFLICT (journal, device, inode) DO UPDATE SET head = :head, position = :position;

-- name: drop_place
DELETE FROM place WHERE journal = :journal AND device = :device AND inode = :inode;

-- name: pending
-- Postbacks to look at now, oldest due first.
SELECT id, received_at, stored_at, method, uri, type, body, state FROM postback
WHERE state IN ('undecided', 'waiting') AND due_at <= :now ORDER BY due_at, seq LIMIT :most;

-- name: next_look
SELECT min(due_at) FROM postback WHERE state IN ('undecided', 'waiting');

-- name: count_waiting
SELECT count(*) FROM postback WHERE state = 'waiting' AND state IN ('undecided', 'waiting');

-- name: longest_waiting
-- The oldest of them. The plus keeps the planner from walking the whole table in this order.
SELECT id, received_at, stored_at, method, uri, type, body, state FROM postback
WHERE state = 'waiting' AND state IN ('undecided', 'waiting') ORDER BY +stored_at LIMIT :most;

-- name: fact
SELECT value FROM meta WHERE name = :name;

-- name: keep_fact
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value;

-- name: complete_click
-- A click that can be decided upon.
SELECT body FROM click WHERE subid = :subid AND clicked_at IS NOT NULL;

-- name: wait
-- No click yet; at once again when one came while this was being decided. With a click it waits for something else.
UPDATE postback SET state = 'waiting', subid = :subid, decision = :decision, reason = :reason, trace = :trace,
    configuration = :configuration,
    due_at = CASE WHEN :lacks_click AND EXISTS (SELECT 1 FROM click WHERE subid = :subid AND clicked_at IS NOT NULL)
                  THEN 0 ELSE :due_at END
WHERE id = :id AND state IN ('undecided', 'waiting');

-- name: decide
UPDATE postback SET state = :state, subid = :subid, decided_at = :now, decision = :decision, reason = :reason,
    trace = :trace, configuration = :configuration,
    method = :method, uri = :uri, type = :type, body = :body, raw = :raw
WHERE id = :id AND state = :expected;

-- name: find_destination
SELECT seq FROM destination WHERE integration = :integration AND pixel_id = :pixel_id AND route = :route;

-- name: add_destination
INSERT INTO destination (integration, pixel_id, route) VALUES (:integration, :pixel_id, :route);

-- name: destinations
SELECT seq, integration, pixel_id, route FROM destination;

-- name: add_delivery
-- Nothing is added where this event already stands for this pixel.
INSERT INTO delivery (event_id, event_name, pixel_id, destination, postback, subid, tid, event_time, deadline,
                      not_before, body, configuration, state, due_at, created_at)
VALUES (:event_id, :event_name, :pixel_id, :destination, :postback, :subid, :tid, :event_time, :deadline,
        :not_before, :body, :configuration, 'queued', :not_before, :now)
ON CONFLICT (event_id, event_name, pixel_id) DO NOTHING;

-- name: withdraw
-- A rejected or trash conversion came before the delayed event of the same (subid, tid) was sent.
UPDATE delivery SET state = 'dead', reason = 'rejected_meanwhile', ended_at = :now
WHERE state = 'queued' AND subid = :subid AND tid = :tid AND not_before > :received_at;

-- name: add_withdrawal
-- Remembered for a delayed event that is decided after its rejection.
INSERT INTO withdrawal (subid, tid, received_at) VALUES (:subid, :tid, :received_at);

-- name: withdraw_late
-- The rejection of this very conversion was decided first.
UPDATE delivery SET state = 'dead', reason = 'rejected_meanwhile', ended_at = :now
WHERE state = 'queued' AND event_id = :event_id AND event_name = :event_name AND pixel_id = :pixel_id AND EXISTS (
    SELECT 1 FROM withdrawal WHERE subid = :subid AND tid = :tid
        AND received_at >= :received_at AND received_at < :not_before);

-- name: forget_withdrawals
DELETE FROM withdrawal WHERE seq IN (SELECT seq FROM withdrawal WHERE received_at < :before LIMIT :most);

-- name: is_behind
-- Whether one destination has more due than fit into one request.
SELECT count(*) > :most FROM (
    SELECT 1 FROM delivery WHERE state = 'queued' AND held = '' AND destination = :destination AND due_at <= :now
    ORDER BY due_at LIMIT :most + 1);

-- name: lease
-- Due deliveries of one destination, oldest due first.
UPDATE delivery SET state = 'leased'
WHERE state = 'queued' AND seq IN (
    SELECT seq FROM delivery WHERE state = 'queued' AND held = '' AND destination = :destination
        AND due_at <= :now AND deadline > :now ORDER BY due_at, seq LIMIT :most)
RETURNING seq, event_name, event_id, subid, body, deadline, failures, not_before;

-- name: lease_newest
-- The same from the other end: what came last is not behind a backlog.
UPDATE delivery SET state = 'leased'
WHERE state = 'queued' AND seq IN (
    SELECT seq FROM delivery WHERE state = 'queued' AND held = '' AND destination = :destination
        AND due_at <= :now AND deadline > :now ORDER BY due_at DESC, seq DESC LIMIT :most)
RETURNING seq, event_name, event_id, subid, body, deadline, failures, not_before;

-- name: lease_urgent
-- The same, but only what is close to its deadline, the closest first.
UPDATE delivery SET state = 'leased'
WHERE state = 'queued' AND seq IN (
    SELECT seq FROM delivery WHERE state = 'queued' AND held = '' AND destination = :destination
        AND due_at <= :now AND deadline > :now AND deadline < :now + :close ORDER BY deadline, seq LIMIT :most)
RETURNING seq, event_name, event_id, subid, body, deadline, failures, not_before;

-- name: next_due
SELECT min(due_at) FROM delivery
WHERE state = 'queued' AND held = '' AND destination = :destination AND deadline > :now;

-- name: settle
UPDATE delivery SET state = :state, reason = :reason, due_at = :due_at, failures = :failures, held = :held,
    ended_at = CASE WHEN :state = 'queued' THEN NULL ELSE :now END
WHERE seq = :seq AND state = 'leased';

-- name: add_attempt
INSERT INTO attempt (delivery, at, took, proxy, verdict, whose, words, http_status, code, subcode, fbtrace_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: hasten
-- The lane is well again: what waited for its next try goes now.
UPDATE delivery SET due_at = :now
WHERE state = 'queued' AND seq IN (
    SELECT seq FROM delivery WHERE state = 'queued' AND held = '' AND destination = :destination AND failures > 0
        AND due_at > :now AND not_before <= :now LIMIT :most);

-- name: pull_in
-- After a step of the clock: nothing waits longer than its step of the schedule.
UPDATE delivery SET due_at = :now + :step
WHERE state = 'queued' AND seq IN (
    SELECT seq FROM delivery WHERE state = 'queued' AND failures BETWEEN :least AND :largest
        AND due_at > :now + :step AND due_at > not_before LIMIT :most);

-- name: pull_in_new
-- The same for what was not tried yet: it waits for its delay only.
UPDATE delivery SET due_at = max(:now, not_before)
WHERE state = 'queued' AND seq IN (
    SELECT seq FROM delivery WHERE state = 'queued' AND failures = 0
        AND due_at > :now AND due_at > not_before LIMIT :most);

-- name: release_leases
-- At start nobody holds a lease.
UPDATE delivery SET state = 'queued' WHERE state = 'leased';

-- name: bury
-- Past Meta's limit nothing is sent.
UPDATE delivery SET state = 'dead', reason = 'deadline', ended_at = :now
WHERE state = 'queued' AND seq IN (
    SELECT v.seq FROM destination d JOIN delivery v ON v.destination = d.seq
    WHERE v.state = 'queued' AND v.deadline <= :now LIMIT :most);

-- name: parks
SELECT concern, state, kind, words, since, until, step FROM park;

-- name: keep_park
INSERT INTO park (concern, state, kind, words, since, until, step)
VALUES (:concern, :state, :kind, :words, :since, :until, :step)
ON CONFLICT (concern) DO UPDATE SET state = :state, kind = :kind, words = :words, since = :since, until = :until,
    step = :step;

-- name: drop_park
DELETE FROM park WHERE concern = :concern;

-- name: hold
-- By hand, until it is released by hand.
UPDATE delivery SET held = 'by_hand' WHERE seq = :seq AND state = 'queued' AND held = '';

-- name: release
UPDATE delivery SET held = '', due_at = max(:now, not_before) WHERE seq = :seq AND state = 'queued' AND held <> '';

-- name: redirect
-- To another integration with the same pixel.
UPDATE delivery SET destination = :destination, held = ''
WHERE seq = :seq AND state = 'queued' AND pixel_id = :pixel_id;

-- name: retry
-- The same frozen event once more, if it still is what was seen: one that was delivered meanwhile stays delivered.
UPDATE delivery SET state = 'queued', reason = '', held = '', failures = 0, ended_at = NULL,
    due_at = max(:now, not_before)
WHERE seq = :seq AND state = :expected AND reason = :reason AND state IN ('queued', 'dead', 'delivered')
    AND deadline > :now AND body IS NOT NULL;

-- name: delete
UPDATE delivery SET state = 'dead', reason = 'deleted', held = '', ended_at = :now
WHERE seq = :seq AND state = 'queued';

-- name: replay
-- Decided once more, by the configuration of today.
UPDATE postback SET state = 'undecided', due_at = 0
WHERE id = :id AND state IN ('decided', 'expired') AND decision <> 'accepted';

-- name: raw_postbacks
-- Undelivered stories whose customers' data have been kept long enough.
SELECT id, received_at, stored_at, method, uri, type, body, state FROM postback
WHERE raw = 1 AND stored_at < :before AND state <> 'undecided' ORDER BY stored_at LIMIT :most;

-- name: scrub
UPDATE postback SET method = :method, uri = :uri, type = :type, body = :body, raw = 0 WHERE id = :id AND raw = 1;

-- name: forget_bodies
UPDATE delivery SET body = NULL WHERE seq IN (
    SELECT seq FROM delivery WHERE ended_at < :before AND body IS NOT NULL LIMIT :most);

-- name: forget_deliveries
DELETE FROM delivery WHERE seq IN (
    SELECT seq FROM delivery WHERE created_at < :before AND state IN ('delivered', 'dead') LIMIT :most);

-- name: forget_attempts
DELETE FROM attempt WHERE seq IN (SELECT seq FROM attempt WHERE at < :before LIMIT :most);

-- name: forget_postbacks
DELETE FROM postback WHERE seq IN (
    SELECT seq FROM postback WHERE stored_at < :before AND state IN ('decided', 'expired') LIMIT :most);

-- name: forget_clicks
DELETE FROM click WHERE subid IN (
    SELECT subid FROM click WHERE has_fbclid = :has_fbclid AND stored_at < :before LIMIT :most);

-- name: count_postbacks
SELECT state, decision, reason, count(*) FROM postback GROUP BY state, decision, reason;

-- name: count_clicks
SELECT count(*) FROM click;

-- name: count_deliveries
SELECT d.integration, d.pixel_id, d.route, v.state, v.reason, v.held, count(*), min(v.created_at)
FROM delivery v JOIN destination d ON d.seq = v.destination
GROUP BY v.destination, v.state, v.reason, v.held;

-- name: backlog_postbacks
-- Postbacks without a decision, however many are decided.
SELECT state, count(*) FROM postback WHERE state IN ('undecided', 'waiting') GROUP BY state;

-- name: backlog_deliveries
-- Deliveries that are not at their end, by destination, however many are.
SELECT d.integration, d.pixel_id, d.route, v.state, v.held, count(*), min(v.not_before), min(v.deadline)
FROM delivery v JOIN destination d ON d.seq = v.destination WHERE v.state = 'queued' GROUP BY v.destination, v.held
UNION ALL
SELECT d.integration, d.pixel_id, d.route, v.state, v.held, count(*), min(v.not_before), min(v.deadline)
FROM delivery v JOIN destination d ON d.seq = v.destination WHERE v.state = 'leased' GROUP BY v.destination, v.held;

-- name: queue
-- Deliveries of one state behind a row, the oldest first. :state is put in as a literal, so that its indexes serve.
SELECT v.seq, d.integration, v.pixel_id, d.route, v.event_name, v.event_id, v.subid, v.state, v.reason, v.held,
    v.due_at, v.not_before, v.deadline, v.failures, v.created_at, v.ended_at, v.body IS NOT NULL
FROM delivery v JOIN destination d ON d.seq = v.destination
WHERE v.state = :state AND v.seq > :after ORDER BY v.seq LIMIT :most;

-- name: queue_of
-- Deliveries that a queue number, an event_id, a request id or a subid means.
SELECT v.seq, d.integration, v.pixel_id, d.route, v.event_name, v.event_id, v.subid, v.state, v.reason, v.held,
    v.due_at, v.not_before, v.deadline, v.failures, v.created_at, v.ended_at, v.body IS NOT NULL
FROM delivery v JOIN destination d ON d.seq = v.destination
WHERE v.seq = :seq OR v.event_id = :id OR v.postback = :id OR (v.subid = :id AND v.subid <> '') ORDER BY v.seq;

-- name: delivery
-- All of one delivery, with the postback that it came from.
SELECT v.seq, v.event_id, v.event_name, v.pixel_id, d.integration, d.route, v.postback, v.subid, v.tid, v.state,
    v.reason, v.held, v.due_at, v.not_before, v.deadline, v.failures, v.created_at, v.ended_at, v.configuration, v.body
FROM delivery v JOIN destination d ON d.seq = v.destination WHERE v.seq = :seq;

-- name: replayable
-- Postbacks that came since a moment and are not sent, of one reason or of any, with their clicks.
SELECT p.id, p.received_at, p.method, p.uri, p.type, p.body, p.subid, c.body, p.raw
FROM postback p LEFT JOIN click c ON c.subid = p.subid AND c.clicked_at IS NOT NULL
WHERE p.stored_at >= :since AND p.received_at >= :since AND p.state IN ('decided', 'expired')
    AND p.decision <> 'accepted' AND :reason IN ('', p.reason)
ORDER BY p.seq;

-- name: replayable_ids
-- Their ids only.
SELECT id FROM postback
WHERE stored_at >= :since AND received_at >= :since AND state IN ('decided', 'expired')
    AND decision <> 'accepted' AND :reason IN ('', reason)
ORDER BY seq;

-- name: received_since
-- Postbacks that came since a moment, whatever became of them.
SELECT id, received_at, state, decision, reason, subid, method, uri, type, body FROM postback
WHERE stored_at >= :since AND received_at >= :since;

-- name: sent_since
-- Deliveries that were made since a moment.
SELECT v.postback, d.integration, v.state, v.reason, v.held
FROM delivery v JOIN destination d ON d.seq = v.destination WHERE v.created_at >= :since ORDER BY v.seq;

-- name: all_places
SELECT device, inode, position FROM place;

-- name: made_by_hour
-- Deliveries that were made after a row, by integration and hour, with the last of each.
SELECT d.integration, CAST(v.created_at / 3600 AS INTEGER), count(*), max(v.created_at), max(v.seq)
FROM delivery v JOIN destination d ON d.seq = v.destination
WHERE v.seq > :after AND v.created_at >= :since GROUP BY v.destination, 2;

-- name: taken_by_hour
-- Deliveries that Meta took after a moment, by integration and hour, with the last of each.
SELECT d.integration, CAST(v.ended_at / 3600 AS INTEGER), count(*), max(v.ended_at), 0
FROM delivery v JOIN destination d ON d.seq = v.destination
WHERE v.ended_at > :since AND v.body IS NOT NULL AND v.state = 'delivered' GROUP BY v.destination, 2;

-- name: outcome
-- What became of one postback.
SELECT state, decision, reason FROM postback WHERE id = :id;

-- name: newest_clicks
-- Clicks with an fbclid, the newest first.
SELECT subid, body FROM click WHERE has_fbclid = 1 AND clicked_at IS NOT NULL ORDER BY stored_at DESC LIMIT :most;

-- name: postbacks_of
-- The newest postbacks that an id means: a request id, a subid, or an event_id.
SELECT id, received_at, stored_at, source, method, uri, type, body, state, subid, decided_at, decision, reason,
    trace, configuration, raw
FROM postback
WHERE id = :id OR (subid = :id AND subid <> '') OR id IN (SELECT postback FROM delivery WHERE event_id = :id)
ORDER BY seq DESC LIMIT :most;

-- name: newest_of
-- Of the postbacks that an id means the newest decided one, else the newest; and how many they are.
SELECT id, received_at, method, uri, type, body, subid, decision, reason, count(*) OVER ()
FROM postback
WHERE id = :id OR (subid = :id AND subid <> '') OR id IN (SELECT postback FROM delivery WHERE event_id = :id)
ORDER BY CASE WHEN state = 'decided' THEN 0 ELSE 1 END, seq DESC LIMIT 1;

-- name: deliveries_of
SELECT v.seq, v.event_id, v.event_name, v.pixel_id, d.integration, d.route, v.state, v.reason, v.held, v.due_at,
    v.not_before, v.deadline, v.failures, v.created_at, v.ended_at, v.configuration, v.body
FROM delivery v JOIN destination d ON d.seq = v.destination WHERE v.postback = :postback ORDER BY v.seq;

-- name: attempts_of
SELECT at, took, proxy, verdict, whose, words, http_status, code, subcode, fbtrace_id
FROM attempt WHERE delivery = :delivery ORDER BY seq LIMIT :most;


-- name: count_since
-- How many postbacks were decided since a moment, all or those of one decision.
SELECT count(*) FROM postback WHERE stored_at >= :since AND state = 'decided' AND :decision IN ('', decision);

-- name: seen_since
-- About every n-th of them with its click; mixed, so that no rhythm of the traffic is drawn.
SELECT p.id, p.received_at, p.method, p.uri, p.type, p.body, p.subid, c.body
FROM postback p LEFT JOIN click c ON c.subid = p.subid AND c.clicked_at IS NOT NULL
WHERE p.stored_at >= :since AND p.state = 'decided' AND :decision IN ('', p.decision) AND ((p.seq * 2654435761) >> 7) % :every = 0
ORDER BY p.seq;

-- name: hours
-- Deliveries by integration, whole hours after a moment, and state: those that ended since it at their end, those that
-- are open and were made since it at their making. Each part has an index; the second is for bodies that were purged.
SELECT d.integration, v.hour, v.state, sum(v.many) FROM (
    SELECT destination, CAST((ended_at - :since) / 3600 AS INTEGER) AS hour, state, count(*) AS many FROM delivery
    WHERE ended_at >= :since AND body IS NOT NULL GROUP BY destination, hour, state
    UNION ALL
    SELECT destination, CAST((ended_at - :since) / 3600 AS INTEGER) AS hour, state, count(*) AS many FROM delivery
    WHERE created_at >= :since AND state IN ('delivered', 'dead') AND body IS NULL AND ended_at >= :since
    GROUP BY destination, hour, state
    UNION ALL
    SELECT destination, CAST((created_at - :since) / 3600 AS INTEGER) AS hour, state, count(*) AS many FROM delivery
    WHERE created_at >= :since AND state = 'queued' GROUP BY destination, hour, state
    UNION ALL
    SELECT destination, CAST((created_at - :since) / 3600 AS INTEGER) AS hour, state, count(*) AS many FROM delivery
    WHERE created_at >= :since AND state = 'leased' GROUP BY destination, hour, state
) v JOIN destination d ON d.seq = v.destination
GROUP BY d.integration, v.hour, v.state;

-- name: newest_deliveries
-- The newest of one integration, among so many of all: no rare one makes this read the whole table.
SELECT v.seq, v.event_id, v.event_name, v.pixel_id, d.integration, d.route, v.postback, v.subid, v.state, v.reason,
    v.held, v.due_at, v.deadline, v.failures, v.created_at, v.ended_at
FROM delivery v JOIN destination d ON d.seq = v.destination
WHERE v.destination IN (SELECT seq FROM destination WHERE integration = :integration)
    AND v.seq > (SELECT max(seq) FROM delivery) - :among
ORDER BY v.seq DESC LIMIT :most;

-- name: waiting_deliveries
-- Those of one integration that wait, the closest to their deadline first.
SELECT v.seq, v.event_id, v.event_name, v.pixel_id, d.integration, d.route, v.postback, v.subid, v.state, v.reason,
    v.held, v.due_at, v.deadline, v.failures, v.created_at, v.ended_at
FROM delivery v JOIN destination d ON d.seq = v.destination
WHERE v.state = 'queued' AND v.destination IN (SELECT seq FROM destination WHERE integration = :integration)
ORDER BY v.deadline LIMIT :most;

-- name: dead_deliveries
-- Those of one integration that were given up, the newest first.
SELECT v.seq, v.event_id, v.event_name, v.pixel_id, d.integration, d.route, v.postback, v.subid, v.state, v.reason,
    v.held, v.due_at, v.deadline, v.failures, v.created_at, v.ended_at
FROM delivery v JOIN destination d ON d.seq = v.destination
WHERE v.state = 'dead' AND v.destination IN (SELECT seq FROM destination WHERE integration = :integration)
ORDER BY v.seq DESC LIMIT :most;
