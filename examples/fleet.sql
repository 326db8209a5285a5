-- A fleet of pumps and fans: ten-second averages for each site, written to the lake.

-- What the devices send. Rows may be two seconds out of order; older ones go to site_10s$late.
CREATE TABLE telemetry (
  device_id STRING,
  ts TIMESTAMP(3),
  temperature DOUBLE,
  humidity DOUBLE,
  status STRING,
  topic STRING METADATA VIRTUAL,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'log', 'stream' = 'telemetry', 'format' = 'json');

-- Where each device stands. The file is looked at again every thirty seconds.
CREATE TABLE devices (
  device_id STRING,
  site STRING,
  model STRING,
  threshold DOUBLE,
  PRIMARY KEY (device_id) NOT ENFORCED
) WITH ('connector' = 'reference', 'path' = 'reference/devices.csv', 'format' = 'csv', 'refresh' = '30s');

-- What comes out.
CREATE TABLE site_10s (
  window_start TIMESTAMP(3),
  window_end TIMESTAMP(3),
  site STRING,
  n BIGINT,
  avg_temperature DOUBLE,
  max_temperature DOUBLE
) WITH (
  'connector' = 'lake',
  'tier' = 'warm',
  'owner' = 'ops@example.com',
  'description' = 'Readings and temperature of each site in windows of ten seconds, without devices that report a fault'
);

INSERT INTO site_10s
SELECT
  window_start,
  window_end,
  d.site,
  COUNT(*) AS n,
  AVG(t.temperature) AS avg_temperature,
  MAX(t.temperature) AS max_temperature
FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '10' SECOND)) AS t
JOIN devices FOR SYSTEM_TIME AS OF t.ts AS d ON t.device_id = d.device_id
WHERE t.status <> 'fault'
GROUP BY window_start, window_end, d.site;
