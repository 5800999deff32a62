-- One text for SQLite, PostgreSQL and MySQL/MariaDB: only varchar, text and bigint.
-- {longtext} and {options} are filled in by src/catalog/migrate.rs.
-- Ids are UUIDs as text, times are Unix milliseconds, JSON is text, truth is 0 or 1.

create table if not exists portal_backup_archives (
    id varchar(36) not null primary key,
    tenant_id bigint not null,
    name varchar(255) not null,
    storage_type varchar(32) not null,
    storage_params {longtext} not null,
    url {longtext} not null,
    size_bytes bigint not null,
    sha256 varchar(64) not null,
    created_on bigint not null,
    expires_on bigint,
    dump bigint not null,
    backup_mode varchar(32) not null,
    parent_id varchar(36),
    verified_on bigint,
    proved_on bigint,
    removed_on bigint,
    missing_since bigint,
    warnings bigint not null,
    job_id varchar(36)
){options};

create index portal_backup_archives_newest on portal_backup_archives (tenant_id, created_on);

create index portal_backup_archives_name on portal_backup_archives (name);

create table if not exists portal_backup_api_keys (
    id varchar(36) not null primary key,
    name varchar(255) not null,
    key_scope varchar(16) not null,
    key_hash varchar(64) not null unique,
    created_on bigint not null,
    last_used_on bigint,
    revoked_on bigint
){options};

-- fence: grows with every claim; only the worker that knows its present value may write the row.
-- exclusive_key: held from queued until finished, so that two jobs that exclude each other cannot both exist.
-- remains: what attempts may have left in a storage; unclean = 1 while there are any.
create table if not exists portal_backup_jobs (
    id varchar(36) not null primary key,
    kind varchar(16) not null,
    state varchar(16) not null,
    tenant_id bigint not null,
    dump bigint not null,
    request {longtext} not null,
    exclusive_key varchar(191) unique,
    attempt bigint not null,
    fence bigint not null,
    owner varchar(64),
    lease_until bigint,
    cancel_requested bigint not null,
    progress {longtext} not null,
    warnings {longtext} not null,
    warnings_omitted bigint not null,
    remains {longtext},
    unclean bigint not null,
    archive_id varchar(36),
    error {longtext},
    created_on bigint not null,
    started_on bigint,
    finished_on bigint
){options};

create index portal_backup_jobs_state on portal_backup_jobs (state, created_on);

create index portal_backup_jobs_newest on portal_backup_jobs (kind, tenant_id, created_on);

create index portal_backup_jobs_unclean on portal_backup_jobs (unclean, id);
