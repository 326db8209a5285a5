WITH found AS (
  SELECT auction, bidder, price, channel,
    COALESCE(CAST(NULLIF(strpos('apple,google,facebook,baidu', lower(channel)), 0) AS BIGINT), 0) AS named,
    NULLIF(split_part(split_part(url, '&channel_id=', 2), '&', 1), '') AS numbered
  FROM bid
)
SELECT auction, bidder, price, channel,
  CASE named WHEN 1 THEN '0' WHEN 7 THEN '1' WHEN 14 THEN '2' WHEN 23 THEN '3' ELSE numbered END
FROM found WHERE named > 0 OR numbered IS NOT NULL
