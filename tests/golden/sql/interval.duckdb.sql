SELECT 0 AS g, counted.p0, count(*) FILTER (WHERE w0) AS a0 
FROM (SELECT CASE WHEN deals.closed_at < TIMESTAMPTZ '2017-09-30 22:00:00+00:00' THEN CASE WHEN deals.closed_at < TIMESTAMPTZ '2017-06-30 22:00:00+00:00' THEN NULL ELSE 0 END ELSE CASE WHEN deals.closed_at < TIMESTAMPTZ '2017-12-31 23:00:00+00:00' THEN 1 ELSE NULL END END AS p0, deals.state = ? AND deals.created_at IS NOT NULL AS w0 
FROM deals 
WHERE (deals.deleted_at IS NULL OR deals.deleted_at > ?) AND deals.merged_into_id IS NULL AND NOT deals.is_test AND deals.closed_at >= ? AND deals.closed_at < ? AND deals.closed_at <= ?) AS counted GROUP BY counted.p0
-- ['won', datetime.datetime(2018, 1, 2, 7, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2017, 6, 30, 22, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2017, 12, 31, 23, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2018, 1, 2, 7, 0, tzinfo=datetime.timezone.utc)]

SELECT 0 AS g, counted.p, count(*) FILTER (WHERE w0) AS a0, count(*) FILTER (WHERE w1) AS a1 
FROM (SELECT spine.no AS p, deals.created_at IS NOT NULL OR spine.is_current AS w0, NOT (deals.created_at IS NOT NULL OR spine.is_current) AS w1 
FROM deals JOIN (VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)) AS spine (no, starts, ends, as_of, is_current) ON true 
WHERE (deals.deleted_at IS NULL OR deals.deleted_at > ?) AND deals.merged_into_id IS NULL AND NOT deals.is_test AND (deals.created_at < spine.as_of OR spine.is_current AND deals.created_at <= spine.as_of OR deals.created_at IS NULL) AND (deals.closed_at >= spine.starts OR deals.created_at >= spine.starts OR deals.closed_at IS NULL AND deals.state = ?)) AS counted GROUP BY counted.p
-- [0, datetime.datetime(2017, 6, 30, 22, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2017, 9, 30, 22, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2017, 9, 30, 22, 0, tzinfo=datetime.timezone.utc), False, 1, datetime.datetime(2017, 9, 30, 22, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2017, 12, 31, 23, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2017, 12, 31, 23, 0, tzinfo=datetime.timezone.utc), False, datetime.datetime(2018, 1, 2, 7, 0, tzinfo=datetime.timezone.utc), 'open']
