"""The Python client that openapi-generator makes of openapi.yaml: backup, progress, history, our own API and
restore. PYTHONPATH names the client; BASE and KEY come from the environment."""

import os
import time

import openapi_client as client
from openapi_client.models import (
    BackupDto,
    BackupRestoreDto,
    BackupStorageType,
    JobState,
    NewBackup,
    NewRestore,
    NewVerification,
)

# In turn with each way that the description offers to say who one is.
for credential in [
    {"api_key": {"ApiKeyBearer": os.environ["KEY"]}},
    {"access_token": os.environ["KEY"]},
]:
    api_client = client.ApiClient(client.Configuration(host=os.environ["BASE"], **credential))
    backups, jobs = client.BackupApi(api_client), client.JobsApi(api_client)
    archives, health = client.ArchivesApi(api_client), client.HealthApi(api_client)

    def wait(ask, done):
        deadline = time.monotonic() + 120
        while not done(answer := ask()):
            assert time.monotonic() < deadline, answer
            time.sleep(0.05)
        return answer

    def job_done(job):
        done = wait(lambda: jobs.get_job(job.id), lambda job: job.finished_on is not None)
        assert done.state == JobState.SUCCEEDED and done.percent == 100, done
        return done

    assert health.health().status == "Healthy"

    started = backups.start_backup(BackupDto(storageType=BackupStorageType.Local, dump=True)).response
    finished = wait(
        lambda: backups.get_backup_progress(dump=True).response, lambda progress: progress.is_completed
    )
    assert finished.error == "" and finished.task_id == started.task_id, finished
    record = backups.get_backup_history().response[0]
    assert str(record.id) == started.task_id, record

    job = job_done(jobs.create_backup(NewBackup(storageType="Local", dump=True)))
    assert job.archive_id in [archive.id for archive in archives.list_archives(limit=10).items]
    archive = archives.get_archive(job.archive_id)
    assert archive.verified_on is not None and archive.size > 0, archive
    entries = archives.list_entries(job.archive_id, prefix="storage/")
    assert "storage/plain.txt" in [entry.path for entry in entries.items], entries
    assert archives.read_entry(job.archive_id, "storage/plain.txt").startswith(b"text ")
    assert len(archives.download_archive(job.archive_id)) == archive.size
    assert bytes(archives.download_archive(job.archive_id, range="bytes=0-1")) == b"\x1f\x8b"
    verified = job_done(archives.verify_archive(job.archive_id, NewVerification(restore=False)))
    assert verified.kind == "verify", verified

    plan = jobs.plan_restore(NewRestore(archiveId=job.archive_id, dump=True))
    assert type(plan).__name__ == "RestorePlan" and plan.problems == [], plan
    restore = jobs.create_restore(NewRestore(archiveId=job.archive_id, dump=True))
    assert job_done(restore).kind == "restore"
    backups.start_backup_restore(
        BackupRestoreDto(backupId=str(record.id), storageType=BackupStorageType.Local, dump=True)
    )
    done = wait(lambda: backups.get_restore_progress(dump=True).response, lambda progress: progress.is_completed)
    assert done.error == "", done

    assert backups.cancel_backup().response is False
    assert backups.delete_backup(record.id).response is True
    archives.delete_archive(job.archive_id)
    for missing in [lambda: archives.get_archive(job.archive_id), lambda: backups.delete_backup(record.id)]:
        try:
            missing()
            raise AssertionError("an archive that was deleted is still there")
        except client.exceptions.NotFoundException:
            pass
print("backups, progress, history, jobs, archives, restores")
