-- The rows that count, where tables are files (parquet, Delta, Iceberg): a view `…_now` for each of the API's lists.
-- Written for DuckDB. BigQuery, Snowflake and Databricks differ in a word; Trino needs `row_number()` in a subquery.
--
-- Plain files and Iceberg tables are only appended to: a recording that was read twice has two rows.
-- Delta tables hold one row for each key, but keep the rest of a list that became shorter.
-- In both cases the load id decides: of a recording, and of its lists, the newest load counts.
--
-- First create a view of the files of each table, such as:
--   CREATE VIEW company_recordings AS
--       FROM read_parquet('lake/vbc_data/company_recordings/*.parquet', union_by_name = true);
-- For Delta and Iceberg, DuckDB has the extensions `delta` and `iceberg` (delta_scan, iceberg_scan). The tests read
-- these tables with deltalake and pyiceberg instead, and then run the statements below.

CREATE VIEW company_recordings_now AS FROM company_recordings
QUALIFY row_number() OVER (PARTITION BY account_id, id ORDER BY _dlt_load_id DESC) = 1;

CREATE VIEW company_recordings__extensions_now AS FROM company_recordings__extensions
QUALIFY _dlt_load_id = max(_dlt_load_id) OVER (PARTITION BY account_id, recording_id) AND is_empty IS NOT TRUE
    AND row_number() OVER (PARTITION BY account_id, recording_id, position, _dlt_load_id) = 1;

CREATE VIEW company_recordings__rule_ids_now AS FROM company_recordings__rule_ids
QUALIFY _dlt_load_id = max(_dlt_load_id) OVER (PARTITION BY account_id, recording_id) AND is_empty IS NOT TRUE
    AND row_number() OVER (PARTITION BY account_id, recording_id, position, _dlt_load_id) = 1;

CREATE VIEW user_recordings_now AS FROM user_recordings
QUALIFY row_number() OVER (PARTITION BY account_id, user_id, id ORDER BY _dlt_load_id DESC) = 1;

CREATE VIEW user_recordings__extensions_now AS FROM user_recordings__extensions
QUALIFY _dlt_load_id = max(_dlt_load_id) OVER (PARTITION BY account_id, user_id, recording_id) AND is_empty IS NOT TRUE
    AND row_number() OVER (PARTITION BY account_id, user_id, recording_id, position, _dlt_load_id) = 1;

CREATE VIEW user_recordings__rule_ids_now AS FROM user_recordings__rule_ids
QUALIFY _dlt_load_id = max(_dlt_load_id) OVER (PARTITION BY account_id, user_id, recording_id) AND is_empty IS NOT TRUE
    AND row_number() OVER (PARTITION BY account_id, user_id, recording_id, position, _dlt_load_id) = 1;

CREATE VIEW export_jobs_now AS FROM export_jobs
QUALIFY row_number() OVER (PARTITION BY account_id, user_id, id ORDER BY _dlt_load_id DESC) = 1;

CREATE VIEW users_now AS FROM users
QUALIFY row_number() OVER (PARTITION BY account_id, id ORDER BY _dlt_load_id DESC) = 1;

CREATE VIEW users__extensions_now AS FROM users__extensions
QUALIFY _dlt_load_id = max(_dlt_load_id) OVER (PARTITION BY account_id, user_id) AND is_empty IS NOT TRUE
    AND row_number() OVER (PARTITION BY account_id, user_id, position, _dlt_load_id) = 1;

CREATE VIEW users__contact_numbers_now AS FROM users__contact_numbers
QUALIFY _dlt_load_id = max(_dlt_load_id) OVER (PARTITION BY account_id, user_id) AND is_empty IS NOT TRUE
    AND row_number() OVER (PARTITION BY account_id, user_id, position, _dlt_load_id) = 1;

CREATE VIEW extensions_now AS FROM extensions
QUALIFY row_number() OVER (PARTITION BY account_id, extension ORDER BY _dlt_load_id DESC) = 1;

-- The ledgers in the same way: user_access by account_id, resource, user_id; recording_audio by account_id, recording_type,
-- user_id, recording_id, version, where the newest fetched_at counts; audio_manifests by uri, where the newest written_at
-- counts; recording_holds by the same and held_at, where a row with released_at counts. scan_windows, audio_checks, custody and
-- recording_deletions are only appended to.

-- Only with call_logs = true is there such a table:
-- CREATE VIEW call_logs_now AS FROM call_logs
-- QUALIFY row_number() OVER (PARTITION BY account_id, id, leg ORDER BY _dlt_load_id DESC) = 1;
