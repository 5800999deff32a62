-- Further storages that an archive is sent to: a row for each, written with the archive's own.
-- state: waiting, stored, failed (tried again on next_try), cancelled, missing (it was stored, and is gone).
-- job_id: the job that makes the copy, until its end was taken note of.
create table if not exists portal_backup_copies (
    archive_id varchar(36) not null,
    name varchar(64) not null,
    state varchar(16) not null,
    object_name varchar(255),
    url {longtext},
    job_id varchar(36),
    attempts bigint not null,
    next_try bigint,
    verified_on bigint,
    locked_until bigint,
    error {longtext},
    primary key (archive_id, name)
){options};

create index portal_backup_copies_state on portal_backup_copies (state);
