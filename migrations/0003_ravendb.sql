-- What RavenDB's clients start and ask for again. name_key: the name in lower case, as names are compared.
-- job_id: null for a restore that was refused. ending: null until its end was taken note of.
create table if not exists portal_backup_operations (
    id bigint not null primary key,
    job_id varchar(36) unique,
    task varchar(16) not null,
    source_kind varchar(16) not null,
    name varchar(255) not null,
    name_key varchar(191) not null,
    location {longtext} not null,
    messages {longtext} not null,
    started_on bigint not null,
    completed_on bigint,
    ending varchar(16),
    error {longtext}
){options};

create index portal_backup_operations_newest on portal_backup_operations (task, source_kind, name_key, id);

-- Databases and filesystems that restores made. url, options and document are sealed.
-- ready: 0 while the restore runs. made: 1 when the restore made the place itself.
create table if not exists portal_backup_sources (
    source_kind varchar(16) not null,
    name_key varchar(191) not null,
    name varchar(255) not null,
    url {longtext} not null,
    source_options {longtext} not null,
    document {longtext} not null,
    job_id varchar(36) not null unique,
    ready bigint not null,
    made bigint not null,
    created_on bigint not null,
    primary key (source_kind, name_key)
){options};
