SELECT 0 AS g, counted.p, counted.d0, count(*) AS a0, count(x0) AS a1, max(x0) AS a2 
FROM (SELECT 0 AS p, watermarks.source_id AS d0, CASE WHEN (watermarks.through > $1) THEN $2 ELSE CAST(floor(EXTRACT(epoch FROM $1) - EXTRACT(epoch FROM watermarks.through)) AS BIGINT) END AS x0 
FROM watermarks) AS counted GROUP BY counted.p, counted.d0
-- [datetime.datetime(2018, 1, 2, 7, 0, tzinfo=datetime.timezone.utc), 0]
