-- The rows that count, where tables are files (parquet, Delta, Iceberg): a view `…_now` for each table.
-- Written for DuckDB; BigQuery, Snowflake, Databricks, Trino's `row_number()` in a subquery, … differ in a word.
--
-- Plain files and Iceberg tables are only appended to: a recording that was read again has a row for each
-- time. Delta tables hold one row for each key, but keep the rest of a list that became shorter.
-- Both are settled by the load that a row came with: of a recording, and of its lists, the newest counts.
--
-- First give the files names, for each table, such as:
--   CREATE VIEW company_recordings AS
--       FROM read_parquet('lake/vbc/company_recordings/*.parquet', union_by_name = true);
--   … FROM delta_scan('lake/vbc/company_recordings');
--   … FROM iceberg_scan('lake/vbc/company_recordings', allow_moved_paths = true);

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
