-- revision: grows with every change; a change is written only by who knows the present value, so that of
-- several processes one alone starts a run.
-- awaited: 1 while the end of last_job was not taken note of.
-- stale: counts changes that the portal's own tables do not show yet; 0 when they are equal.
-- mirrored: what the portal's row said when it was last equal; deleted_on: kept until its row is deleted there.
create table if not exists portal_backup_schedules (
    id varchar(36) not null primary key,
    tenant_id bigint not null,
    dump bigint not null,
    name varchar(255) not null,
    cron varchar(255) not null,
    timezone varchar(64),
    enabled bigint not null,
    storage_type varchar(32) not null,
    storage_params {longtext} not null,
    backup_mode varchar(32) not null,
    retention {longtext} not null,
    created_on bigint not null,
    next_run bigint,
    retry_on bigint,
    last_run bigint,
    last_success bigint,
    last_job varchar(36),
    awaited bigint not null,
    last_error {longtext},
    failures bigint not null,
    revision bigint not null,
    stale bigint not null,
    mirrored {longtext},
    synced_on bigint,
    deleted_on bigint
){options};

create index portal_backup_schedules_next on portal_backup_schedules (next_run);

-- Which schedule made an archive; null: somebody asked for it.
alter table portal_backup_archives add column schedule_id varchar(36);

alter table portal_backup_archives add column stale bigint not null default 1;

create index portal_backup_archives_stale on portal_backup_archives (stale);

-- What the portal's audit trail says of a job: 0 nothing, 1 its start, 2 its end.
alter table portal_backup_jobs add column told bigint not null default 2;

create index portal_backup_jobs_told on portal_backup_jobs (told);

create index portal_backup_jobs_finished on portal_backup_jobs (finished_on);
