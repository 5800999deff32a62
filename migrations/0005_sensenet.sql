-- Copies of the index by sensenet's API, one row a job: what its history tells, also after the job is forgotten.
-- message: why a copy failed or was cancelled; null while it runs and when it succeeded.
create table if not exists portal_backup_index_copies (
    job_id varchar(36) not null primary key,
    target {longtext} not null,
    created_on bigint not null,
    started_on bigint,
    finished_on bigint,
    total_bytes bigint not null,
    copied_bytes bigint not null,
    files bigint not null,
    copied_files bigint not null,
    current_file {longtext},
    message {longtext}
){options};

create index portal_backup_index_copies_newest on portal_backup_index_copies (created_on);
