//! Every bound of the system, in one place. Invariant: no queue, buffer or retry is without a name here, and the relations
//! between them are checked when the crate is compiled.

/// Longest payload of one record, in bytes. Longer is refused before it is stored.
pub const RECORD_PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Longest topic of one record, in bytes.
pub const RECORD_TOPIC_BYTES_MAX: usize = 512;
/// Longest frame of the log, in bytes: one group commit of one partition.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes that may wait in one partition for the next group commit; beyond, `append` answers `Unavailable`.
pub const APPEND_PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The same of all partitions together, with what is being written.
pub const LOG_PENDING_BYTES_MAX: usize = 40 * 1024 * 1024;
/// Steps in which a partition reserves its share of that, in bytes.
pub const LOG_PENDING_STEP_BYTES: usize = 64 * 1024;
/// Size at which a segment is sealed, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Most partitions of one stream.
pub const PARTITIONS_MAX: u32 = 256;
/// Most records of one frame: a cursor can always hand out a whole frame.
pub const FRAME_RECORDS_MAX: usize = BATCH_ROWS_MAX;
/// Devices of one partition whose last sequence is remembered, as many as there may be. Beyond, the half that was silent longest is forgotten.
pub const PRODUCERS_MAX: usize = DEVICES_MAX;
/// Epochs of one device that are remembered.
pub const PRODUCER_EPOCHS_MAX: usize = 4;
/// Most streams of one log: each has its own threads and files.
pub const STREAMS_MAX: usize = 64;
/// Least distance of two marks of a segment's index, in bytes.
pub const INDEX_STRIDE_BYTES: u64 = 64 * 1024;
/// Bytes that recovery and verification read at a time.
pub const SCAN_WINDOW_BYTES: usize = 1024 * 1024;
/// Zeros that are written ahead of small frames, in bytes: syncing into them is faster because the length stays.
pub const ZERO_AHEAD_BYTES: usize = 512 * 1024;
/// Zeros of a segment that is made ahead go to the disk in pieces of this size: a frame never waits for more of them.
pub const ZERO_PIECE_BYTES: usize = 256 * 1024;
/// Frames from this size on are appended without zeros ahead, in bytes.
pub const ZERO_AHEAD_FRAME_BYTES_MAX: usize = 32 * 1024;
/// Segments whose frames are larger on the average, in bytes, are followed by one without zeros: these would cost more than they save.
pub const ZERO_SEGMENT_FRAME_BYTES_MAX: usize = 256 * 1024;
/// Places that a partition remembers for its sequential readers.
pub const READ_HINTS_MAX: usize = 16;
/// Sealed segments of a partition whose indexes stay in memory: those that were loaded last.
pub const INDEXES_LOADED_MAX: usize = 8;
/// Capacity that an idle group buffer may keep, in bytes.
pub const GROUP_BUFFER_KEPT_BYTES_MAX: usize = 128 * 1024;
/// Least time from one group commit of a partition to the next where closer ones have everything stand still, in microseconds.
pub const GROUP_INTERVAL_US: u64 = 1_000;
/// The same where they do not.
pub const GROUP_INTERVAL_US_MIN: u64 = 250;
/// Written bytes after which free space is looked at again.
pub const DISK_CHECK_BYTES: u64 = 16 * 1024 * 1024;
/// Time after which free space is looked at again, in milliseconds.
pub const DISK_CHECK_INTERVAL_MS: u64 = 1_000;
/// Pause between attempts to write on a full disk, in milliseconds.
pub const DISK_FULL_RETRY_MS: u64 = 250;
/// Free bytes of the log's disk below which ingestion is refused.
pub const DISK_FREE_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// Free bytes of the log's disk below which records that nothing was promised for (QoS 0) are left out.
pub const DISK_SCARCE_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes held back on the log's disk for what has to be written when others have filled it.
pub const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of sealed segments that are read again in a second, to find damage.
pub const SCRUB_BYTES_PER_SECOND: u64 = 4 * 1024 * 1024;

/// Open connections of devices over one protocol, those included that have not yet proved who they are.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Connections from one network address that have not yet proved who they are.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 1_024;
/// Connections one device may hold at once over one protocol, each with a client id of its own.
pub const CONNECTIONS_PER_DEVICE_MAX: usize = 8;
/// Longest packet of a peer that has not yet proved who it is, in bytes; over HTTP, the body of an activation.
pub const CONNECT_BYTES_MAX: usize = 16 * 1024;
/// Longest client id, in bytes.
pub const CLIENT_ID_BYTES_MAX: usize = 256;
/// Longest MQTT packet of a known device, in bytes: the largest payload, its topic and properties.
pub const MQTT_PACKET_BYTES_MAX: usize = RECORD_PAYLOAD_BYTES_MAX + 16 * 1024;
/// Longest AMQP frame of a known device, in bytes. Told to it when it connects.
pub const AMQP_FRAME_BYTES_MAX: usize = 64 * 1024;
/// Longest AMQP message, in bytes: the largest payload with its properties. Told to devices when they attach a link.
pub const AMQP_MESSAGE_BYTES_MAX: usize = RECORD_PAYLOAD_BYTES_MAX + 16 * 1024;
/// Bytes of messages in several frames that one AMQP connection may have begun and not completed.
pub const AMQP_PARTIAL_BYTES_MAX: usize = AMQP_MESSAGE_BYTES_MAX * 2;
/// Sessions of one AMQP connection.
pub const AMQP_SESSIONS_MAX: u16 = 4;
/// Links of one AMQP session.
pub const AMQP_LINKS_MAX: u32 = 8;
/// Frames with messages that an AMQP session may send before it is told to go on.
pub const AMQP_WINDOW_FRAMES: u32 = 2_048;
/// Longest tag of an AMQP delivery, in bytes.
pub const AMQP_TAG_BYTES_MAX: usize = 32;
/// Longest name of an AMQP link together with the description of its ends, in bytes: they are said back.
pub const AMQP_ATTACH_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the answer to an AMQP attach beside its name and its ends.
pub const AMQP_ANSWER_BYTES: usize = 96;
/// Silence that an AMQP device is asked not to exceed, in milliseconds; its connection ends after twice that.
pub const AMQP_IDLE_MS: u64 = 60_000;
/// Least time between two signs of life for an AMQP device that wants them more often, in milliseconds.
pub const AMQP_HEARTBEAT_MS_MIN: u64 = 250;
/// Time a peer has to prove who it is, in milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// Time a peer may leave what was sent to it unread, in milliseconds.
pub const WRITE_TIMEOUT_MS: u64 = 10_000;
/// The same for a peer that reads a little now and then: time for all that was written together, in milliseconds.
pub const WRITE_MS_MAX: u64 = 120_000;
/// Bytes that wait to be written to one connection, after which no more messages are added to them.
pub const WRITE_BYTES_MAX: usize = 64 * 1024;
/// Publishes of one connection that wait to be durable; reading stops there. Told to MQTT 5 devices as Receive Maximum.
pub const UNACKNOWLEDGED_MAX: usize = 256;
/// Streams one connection may publish to.
pub const STREAMS_PER_CONNECTION_MAX: usize = 16;
/// Topic aliases one MQTT 5 connection may use.
pub const TOPIC_ALIASES_MAX: u16 = 16;
/// Topic filters one connection may subscribe to.
pub const SUBSCRIPTIONS_PER_CONNECTION_MAX: usize = 32;
/// Messages that wait to be sent to one connection; beyond, they are dropped and counted.
pub const DELIVERIES_QUEUED_MAX: usize = 256;
/// Bytes of these messages; beyond, they are dropped and counted too.
pub const DELIVERIES_QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// Messages sent to one connection that it has not yet acknowledged.
pub const DELIVERIES_UNACKNOWLEDGED_MAX: usize = 32;
/// Time a record that the log has no room for is offered again, in milliseconds; then its sender is told, or its connection ended.
pub const APPEND_RETRY_MS_MAX: u64 = 5_000;
/// The same for devices that cannot be told (MQTT 3.1.1); then their connection is closed without acknowledgement.
pub const APPEND_RETRY_SILENT_MS_MAX: u64 = 60_000;
/// Time between two offers of the same record, in milliseconds.
pub const APPEND_RETRY_INTERVAL_MS: u64 = 20;
/// Time appended records are waited for until they are durable, in milliseconds.
pub const DURABLE_WAIT_MS_MAX: u64 = 30_000;
/// Time a stopping gateway waits for outstanding acknowledgements, in milliseconds.
pub const GATEWAY_STOP_MS_MAX: u64 = 2_000;
/// Records a source hands out at most at once.
pub const SOURCE_RECORDS_MAX: usize = 256;

/// Rows a cursor hands out at most in one batch.
pub const BATCH_ROWS_MAX: usize = 16 * 1024;
/// Bytes a cursor reads at most for one batch.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Buffers of up to `BATCH_BYTES_MAX` that are kept, while unused, for the next batches; of all streams together.
pub const READ_CHUNKS_KEPT_MAX: usize = 4;
/// Objects and lists of a payload that may lie inside one another, the record itself included.
pub const JSON_DEPTH_MAX: usize = 64;
/// Attributes of a JSON record whose place in the order is remembered for the next record.
pub const JSON_ORDER_ATTRIBUTES_MAX: usize = 256;
/// Longest attribute name that is remembered so, in bytes with its quotes.
pub const JSON_ORDER_NAME_BYTES_MAX: usize = 256;
/// Decoded records of one stream that are kept for those of its jobs that come a little later, in bytes; one batch a partition at least.
pub const SHARED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Records that a job may be behind another one and still be expected to catch up with it.
pub const SHARED_ROWS_BEHIND_MAX: u64 = 1024 * 1024;
/// Time that a job which catches up waits at most, before each batch, for another one that is a little behind, in milliseconds; and no
/// longer than twice the time of decoding.
pub const SHARED_WAIT_MS_MAX: u64 = 100;
/// Records that a partition of a job is behind the log when it gets a thread of its own.
pub const APART_ROWS_MIN: u64 = 4 * 1024;
/// Time for which such a thread reads no batch of so many records before it ends, in milliseconds.
pub const APART_QUIET_MS: u64 = 1_000;
/// Time in which new records are gathered before a job that just read is woken again, in milliseconds.
pub const GATHER_MS_MIN: u64 = 2;
/// The same on a stream that many jobs read, for each of them, in microseconds: some times what waking a job costs.
pub const GATHER_US_PER_JOB: u64 = 400;
/// The same at most, in milliseconds; an archive lets them gather for so long.
pub const GATHER_MS_MAX: u64 = 40;
/// Messages between a partition's chain and the job's merge stage.
pub const CHAIN_QUEUE_MAX: usize = 8;
/// Groups one pane of one partition may hold.
pub const PANE_GROUPS_MAX: usize = 4_000_000;
/// Panes that may be open at once in one partition.
pub const PANES_OPEN_MAX: usize = 10_000;
/// Windows that one row may lie in: the size of a HOP in slides, or that of a CUMULATE in steps.
pub const WINDOWS_PER_ROW_MAX: i64 = 10_000;
/// The same where the rows are not aggregated: each leaves once a window.
pub const WINDOWS_PER_ROW_ASSIGNED_MAX: i64 = 256;
/// Sessions that may be open at once in one partition, or wait for other partitions in the merge stage.
pub const SESSIONS_OPEN_MAX: usize = 4_000_000;
/// Rows that LEAD may look ahead: a row waits for so many later ones of its partition.
pub const LEAD_ROWS_MAX: u64 = 1_000;
/// Keys that one step behind the exchange may hold state of.
pub const STATE_KEYS_MAX: usize = 16_000_000;
/// What a row that a step holds is taken to need of memory until a snapshot tells better, in bytes.
pub const HELD_ROW_BYTES: u64 = 256;
/// What one push or one watermark may let out of a join, or of one key group of a join on several threads, in bytes as estimated: it is
/// collected before it goes on. Beyond, the job ends.
pub const JOIN_OUTPUT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Share of the machine's memory that the state of all jobs together may take: one part of so many; a setting.
pub const STATE_MEMORY_PARTS: u64 = 4;
/// The same where nobody knows how much memory the machine has, in bytes.
pub const STATE_MEMORY_BYTES_DEFAULT: u64 = 1024 * 1024 * 1024;
/// Memory that the state of one job may take whatever is set, in bytes: each part of a checkpoint is below 4 GiB.
pub const STATE_JOB_BYTES_MAX: u64 = 4095 * 1024 * 1024;
/// Percent of its bound from which on a job's partitions that are ahead in event time wait for those behind.
pub const STATE_SOFT_PERCENT: u64 = 50;
/// A partition waits if it is further ahead than this, in milliseconds of event time.
pub const STATE_AHEAD_MS_MAX: i64 = 1_000;
/// Time between two looks at what a job's state takes, in milliseconds.
pub const STATE_LOOK_INTERVAL_MS: u64 = 50;
/// Time over which the rate of a job is told, in seconds.
pub const JOB_RATE_S: usize = 10;
/// Longest name of a savepoint, in bytes.
pub const SAVEPOINT_NAME_BYTES_MAX: usize = 128;
/// Rows of one version of a reference table.
pub const REFERENCE_ROWS_MAX: usize = 10_000_000;
/// Versions of one reference table that are kept.
pub const REFERENCE_VERSIONS_MAX: usize = 64;
/// Memory of the versions of one reference table that are kept, in bytes; beyond, the oldest are dropped.
pub const REFERENCE_VERSIONS_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Newest versions of one reference table that are kept whatever they take of memory.
pub const REFERENCE_VERSIONS_MIN: usize = 2;
/// Size of the file of a reference table, in bytes.
pub const REFERENCE_FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Rows ahead of their receive time by more than this are rejected, in milliseconds.
pub const FUTURE_TOLERANCE_MS_DEFAULT: i64 = 300_000;
/// A partition without records that have an event time for this long no longer holds the watermark back, in milliseconds.
pub const IDLE_TIMEOUT_MS_DEFAULT: i64 = 5_000;
/// Time between checkpoints, in milliseconds.
pub const CHECKPOINT_INTERVAL_MS_DEFAULT: u64 = 10_000;
/// Checkpoints of one job that are kept.
pub const CHECKPOINTS_KEPT: usize = 3;
/// Live results kept for one slow reader of a job's output, in batches; the oldest are dropped and counted.
pub const LIVE_BATCHES_MAX: usize = 256;

/// Longest SQL statement or script, in bytes.
pub const SQL_BYTES_MAX: usize = 1024 * 1024;
/// Tokens of a SQL statement between two commas, those before open parentheses included: its syntax tree is no deeper.
pub const SQL_CHAIN_TOKENS_MAX: usize = 1_000;
/// Newest records of a stream that are looked at to tell its columns.
pub const SAMPLE_RECORDS_MAX: u64 = 1_000;
/// Bytes of them after which no more are read.
pub const SAMPLE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Parentheses and brackets of a SQL statement that may be open at once.
pub const SQL_NESTING_MAX: usize = 16;
/// Beginnings of expressions that the SQL parser may try for each token, beside those for any statement: a keyword may be a name.
pub const SQL_ATTEMPTS_PER_TOKEN_MAX: usize = 10;
/// See `SQL_ATTEMPTS_PER_TOKEN_MAX`.
pub const SQL_ATTEMPTS_MIN: usize = 50_000;
/// Parts of the expressions of a SQL statement, counted as often as simplifying would repeat them.
pub const SQL_PARTS_MAX: usize = 100_000;
/// Tables that a SQL query reads, counted as often as WITH repeats them.
pub const SQL_TABLES_MAX: usize = 64;
/// Nodes of the plan of a SQL query.
pub const SQL_PLAN_NODES_MAX: usize = 1_000;
/// Nodes of the plan of a SQL query that follow one another: each is a stack frame of planning and running.
pub const SQL_PLAN_DEPTH_MAX: usize = 48;
/// Subqueries inside subqueries of expressions: optimizing them takes nearly twice as long a level.
pub const SQL_SUBQUERY_DEPTH_MAX: usize = 6;
/// Statements of one script.
pub const SQL_SCRIPT_STATEMENTS_MAX: usize = 1_000;
/// INSERTs of one statement set.
pub const SQL_SET_INSERTS_MAX: usize = 32;
/// Views inside views that a query may name.
pub const SQL_VIEW_DEPTH_MAX: usize = 8;
/// Stack of the thread that plans a SQL statement, in bytes.
pub const SQL_STACK_BYTES: usize = 64 * 1024 * 1024;

/// Groups that the keys of a step are spread over if a job may use several threads behind the exchange; also the most threads that it may
/// use there. It is in checkpoints: never change it.
pub const KEY_GROUPS: usize = 16;
/// Rows that are worth the threads which share them.
pub const SHARED_ROWS_MIN: usize = 2048;

/// Small files that a day of a table may have; of more, those of about as many rows are merged.
pub const RECENT_FILES_MAX: usize = 48;
/// Rows of one Parquet row group.
pub const ROW_GROUP_ROWS: usize = 1024 * 1024;
/// Memory of a Parquet row group in the making, in bytes; it is written when it takes more.
pub const ROW_GROUP_BYTES: usize = 64 * 1024 * 1024;
/// Rows that wait before the columns of a Parquet file are encoded, together; while they are, as many may wait again.
pub const LAKE_ENCODE_ROWS: usize = 32 * 1024;
/// Memory that those rows may hold on to, in bytes; buffers that columns share count once for each.
pub const LAKE_ENCODE_BYTES: usize = 32 * 1024 * 1024;
/// Threads that encode the columns of a Parquet file, with the one that has the rows; the others serve all files of a lake.
pub const LAKE_ENCODE_THREADS_MAX: usize = 8;
/// Bytes, before compression, of small files that one sealed file is made of; the largest column of them is sorted in memory.
pub const SEAL_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Rows of small files that one sealed file is made of.
pub const SEAL_ROWS_MAX: u64 = 2 * 1024 * 1024;
/// Bytes, before compression, of small files beyond which they are sealed together before their day is over.
pub const SEAL_BYTES_MIN: u64 = SEAL_BYTES_MAX / 2;
/// Rows of the same.
pub const SEAL_ROWS_MIN: u64 = SEAL_ROWS_MAX / 2;
/// Days that one sink writes to at once; beyond, the open files are closed and others begun.
pub const LAKE_PARTITIONS_OPEN_MAX: usize = 32;
/// Files that the rows of a new table with a primary key are spread over; a table keeps the number that it was made with.
pub const LAKE_BUCKETS: u32 = 16;
/// Memory for the rows of one table with a primary key while a job writes it, in bytes.
pub const LAKE_KEYED_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Time for which files of the lake that were replaced stay readable, in seconds; the log of a table remembers commits for twice as long.
pub const LAKE_HISTORY_S_DEFAULT: u64 = 3600;
/// Times that this can be set to, in seconds: a few rounds of upkeep, which removes them, to a day.
pub const LAKE_HISTORY_S: std::ops::RangeInclusive<u64> = 240..=24 * 3600;
/// Time within which replaced files are removed once they need not be readable any more, in seconds: the log knows of them as long.
pub const LAKE_SWEEP_S_MAX: u64 = 600;
/// Commits between two checkpoints of a Delta log.
pub const LAKE_CHECKPOINT_COMMITS: u32 = 16;
/// Commits after which the state of a table is read from its log again.
pub const LAKE_RELOAD_COMMITS: u32 = 64;
/// Newest commits of a table that are checked when it is opened.
pub const LAKE_COMMITS_CHECKED: usize = 5;

/// Devices one registry holds.
pub const DEVICES_MAX: usize = 1_000_000;
/// Devices on one page of a list.
pub const DEVICE_PAGE_MAX: usize = 1_000;
/// Keys of one device that may be valid at the same time.
pub const DEVICE_KEYS_MAX: usize = 4;
/// Longest catalog document of a device, in bytes of JSON.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of a catalog document.
pub const METADATA_DEPTH_MAX: usize = 8;
/// Shortest activation key that an operator may choose, in bytes.
pub const ACTIVATION_KEY_BYTES_MIN: usize = 12;
/// Longest secret that is looked at, in bytes.
pub const SECRET_BYTES_MAX: usize = 512;
/// Failed logins of one device from one address before it has to wait.
pub const LOGIN_FAILURES_MAX: u32 = 5;
/// Longest wait after failed logins, in seconds.
pub const LOGIN_DELAY_S_MAX: u64 = 60;
/// Failed logins are forgotten after this long without one, in seconds.
pub const LOGIN_MEMORY_S: u64 = 900;
/// Pairs of device and address whose failed logins are remembered.
pub const LOGIN_ENTRIES_MAX: usize = 65_536;
/// Refused logins written to the audit journal in a minute; the others are counted.
pub const AUDIT_REFUSALS_PER_MINUTE_MAX: u32 = 10;
/// Tokens of operators and analysts.
pub const OPERATOR_TOKENS_MAX: usize = 1_000;
/// Revocations that wait for one slow listener; one that lags behind asks `is_active` of its connections.
pub const REVOCATIONS_MAX: usize = 1_024;
/// Longest line of a journal, in bytes.
pub const JOURNAL_LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Entries below which a journal is not worth compacting.
pub const JOURNAL_COMPACT_ENTRIES_MIN: usize = 1_024;
/// A journal is compacted when it holds this many times its live entries.
pub const JOURNAL_COMPACT_FACTOR: usize = 4;

/// Connections that the HTTP server keeps open at the same time; one more is closed at once.
pub const HTTP_CONNECTIONS_MAX: usize = 4_096;
/// Time to the end of a request's header, counted from the opening of the connection or the end of the request before.
pub const HTTP_HEADER_S_MAX: u64 = 10;
/// Time to the beginning of the response, in seconds.
pub const HTTP_REQUEST_S_MAX: u64 = 30;
/// Time to the first rows of a query, in seconds.
pub const HTTP_QUERY_S_MAX: u64 = 600;
/// Time that a peer may take no byte of a response, in seconds.
pub const HTTP_STALL_S_MAX: u64 = 30;
/// Time that open requests get to end when the server stops, in seconds.
pub const HTTP_SHUTDOWN_S_MAX: u64 = 10;
/// Bytes of a request's header, all fields together.
pub const HTTP_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request's body, except telemetry.
pub const HTTP_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a body of telemetry: several records.
pub const HTTP_TELEMETRY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Records in one body of telemetry.
pub const HTTP_TELEMETRY_RECORDS_MAX: usize = 20_000;
/// Time after which a request that was refused for being too much just now may be sent again, in seconds: sooner adds to the load.
pub const HTTP_RETRY_AFTER_S: u64 = 5;
/// The same on a full disk, in seconds: somebody has to make room first.
pub const HTTP_RETRY_AFTER_DISK_FULL_S: u64 = 60;
/// Rows of one result of a batch query over HTTP; beyond, it ends with an error. Whole tables are read from the lake's files.
pub const QUERY_ROWS_MAX: u64 = 1_000_000;
/// Time from the beginning of a batch query to its last row, in seconds; a setting.
pub const QUERY_S_DEFAULT: u64 = 60;
/// Memory of all batch queries together, in bytes; a setting.
pub const QUERY_MEMORY_BYTES_DEFAULT: usize = 512 * 1024 * 1024;
/// Bytes on disk of what batch queries put aside for lack of memory, all together.
pub const QUERY_SPILL_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes of a body that is too long which are read and thrown away, so that its sender gets to see the answer.
pub const HTTP_DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Time for throwing them away, in seconds.
pub const HTTP_DISCARD_S_MAX: u64 = 5;

const _: () = assert!(RECORD_PAYLOAD_BYTES_MAX * 4 <= FRAME_BYTES_MAX, "a frame holds several records of the largest size");
const _: () = assert!(2 * APPEND_PENDING_BYTES_MAX < LOG_PENDING_BYTES_MAX, "a partition can fill one group while another is written");
const _: () = assert!(FRAME_BYTES_MAX < APPEND_PENDING_BYTES_MAX, "a full frame can wait while another fills");
const _: () = assert!((FRAME_BYTES_MAX as u64) * 4 <= SEGMENT_BYTES_DEFAULT, "a segment holds several frames of the largest size");
const _: () = assert!(FRAME_BYTES_MAX <= BATCH_BYTES_MAX, "a cursor can always read a whole frame");
const _: () = assert!(FRAME_RECORDS_MAX <= BATCH_ROWS_MAX, "a cursor can always hand out a whole frame");
const _: () = assert!(ZERO_AHEAD_FRAME_BYTES_MAX <= ZERO_SEGMENT_FRAME_BYTES_MAX, "zeros that were made ahead cost less");
const _: () = assert!(ZERO_PIECE_BYTES <= ZERO_AHEAD_BYTES, "a piece is cut from the zeros ahead");
const _: () = assert!(ZERO_AHEAD_FRAME_BYTES_MAX * 4 <= ZERO_AHEAD_BYTES, "zeros serve several frames");
const _: () = assert!(CHECKPOINTS_KEPT >= 2, "a damaged checkpoint has a predecessor to fall back on");
const _: () = assert!(STATE_JOB_BYTES_MAX < 1 << 32, "a part of a checkpoint has a length of 32 bits");
const _: () = assert!(REFERENCE_VERSIONS_MIN <= REFERENCE_VERSIONS_MAX, "versions that are kept whatever they take are kept");
const _: () = assert!(STATE_SOFT_PERCENT < 100, "partitions wait for one another before a job is stopped");
const _: () = assert!(WINDOWS_PER_ROW_ASSIGNED_MAX <= WINDOWS_PER_ROW_MAX, "rows cost more than slices");
const _: () = assert!(CONNECT_BYTES_MAX < MQTT_PACKET_BYTES_MAX, "an unknown peer may send less than a known one");
const _: () = assert!(CONNECT_BYTES_MAX < AMQP_FRAME_BYTES_MAX, "an unknown peer may send less than a known one");
const _: () = assert!(AMQP_MESSAGE_BYTES_MAX <= AMQP_PARTIAL_BYTES_MAX, "one message in several frames is always taken");
const _: () = assert!(AMQP_ANSWER_BYTES < 512, "the least frame that a peer takes holds an answer");
const _: () = assert!(AMQP_MESSAGE_BYTES_MAX / 512 < AMQP_WINDOW_FRAMES as usize, "a window holds a message in the smallest frames");
const _: () = assert!(UNACKNOWLEDGED_MAX <= u16::MAX as usize, "a packet id is 16 bits");
const _: () = assert!(MQTT_PACKET_BYTES_MAX < DELIVERIES_QUEUED_BYTES_MAX, "a message of the largest size can be queued");
const _: () = assert!(WRITE_TIMEOUT_MS < WRITE_MS_MAX, "a peer that reads has more time than one that does not");
const _: () = assert!(METADATA_BYTES_MAX * DEVICE_PAGE_MAX <= JOURNAL_LINE_BYTES_MAX, "a page of devices can be registered at once");
const _: () = assert!(HTTP_TELEMETRY_BYTES_MAX < APPEND_PENDING_BYTES_MAX, "a whole body of telemetry can wait for one commit");
const _: () = assert!(RECORD_PAYLOAD_BYTES_MAX < HTTP_TELEMETRY_BYTES_MAX, "a record of the largest size fits into a body");
const _: () = assert!(HTTP_RETRY_AFTER_S * 1_000 >= APPEND_RETRY_MS_MAX, "a refused record comes back later than it was offered");
const _: () = assert!(HTTP_RETRY_AFTER_DISK_FULL_S * 1_000 > DISK_CHECK_INTERVAL_MS, "free space was looked at again by then");
const _: () = assert!(QUERY_S_DEFAULT < HTTP_QUERY_S_MAX, "a query that takes too long is told so before its request ends");
const _: () = assert!(HTTP_DISCARD_S_MAX < HTTP_REQUEST_S_MAX, "the answer about a long body is not cut off itself");
