"""DocSpace's own SDK against the service: every method of its BackupApi that the service has. The SDK's
models check every answer. BASE and KEY come from the environment; prints the names of what was called."""

import os
import time
from datetime import datetime, timedelta, timezone

import docspace_api_sdk as sdk
import yaml
from docspace_api_sdk.api.backup.backup_api import BackupApi
from docspace_api_sdk.models.backup_dto import BackupDto
from docspace_api_sdk.models.backup_period import BackupPeriod
from docspace_api_sdk.models.backup_progress_enum import BackupProgressEnum
from docspace_api_sdk.models.backup_restore_dto import BackupRestoreDto
from docspace_api_sdk.models.backup_schedule_dto import BackupScheduleDto
from docspace_api_sdk.models.backup_storage_type import BackupStorageType
from docspace_api_sdk.models.cron import Cron
from docspace_api_sdk.models.distributed_task_status import DistributedTaskStatus
from docspace_api_sdk.models.item_key_value_pair_object_object import ItemKeyValuePairObjectObject as Param

ROUTES = {
    "cancel_backup": "cancelbackup",
    "create_backup_schedule": "createbackupschedule",
    "delete_backup": "deletebackup/{id}",
    "delete_backup_history": "deletebackuphistory",
    "delete_backup_schedule": "deletebackupschedule",
    "get_backup_history": "getbackuphistory",
    "get_backup_progress": "getbackupprogress",
    "get_backup_schedule": "getbackupschedule",
    "get_backups_count": "getbackupscount",
    "get_backups_service_state": "getservicestate",
    "get_restore_progress": "getrestoreprogress",
    "start_backup": "startbackup",
    "start_backup_restore": "startrestore",
}

BASE, KEY = os.environ["BASE"], os.environ["KEY"]
configuration = sdk.Configuration(host=BASE, api_key={"ApiKeyBearer": KEY})
client = sdk.ApiClient(configuration)
api = BackupApi(client)

methods = {
    name
    for name in dir(api)
    if not name.startswith("_") and callable(getattr(api, name)) and "_with_" not in name and "_without_" not in name
}
assert methods == set(ROUTES), methods ^ set(ROUTES)

described = yaml.safe_load(client.rest_client.pool_manager.request("GET", f"{BASE}/openapi.yaml").data)["paths"]
here = {name for name, route in ROUTES.items() if f"/api/2.0/backup/{route}" in described}
missing = set(ROUTES) - here
assert not missing, f"the service lost {missing}"
called = []


def call(method, *args, **kwargs):
    """The answer's `response`, or None where the service does not have the method."""
    if method not in here:
        return None
    answer = getattr(api, method)(*args, **kwargs)
    called.append(method)
    assert answer.status == 0 and answer.status_code == 200, answer
    assert answer.links[0].href.startswith(f"{BASE}/api/2.0/backup/"), answer.links
    return answer.response


def wait(method, **kwargs):
    deadline = time.monotonic() + 120
    while True:
        progress = call(method, **kwargs)
        if progress.is_completed:
            assert progress.error == "" and progress.progress == 100, progress
            assert progress.status is DistributedTaskStatus.Completed, progress
            return progress
        assert time.monotonic() < deadline, progress
        time.sleep(0.05)


began = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(seconds=5)
assert call("get_backup_progress", dump=True) is None
assert call("get_backup_history", dump=True) == []
assert call("cancel_backup") is False

# All the types that need no other server, by the SDK's enumeration and parameters.
for storage, params in [
    (BackupStorageType.Local, []),
    (BackupStorageType.Local, [Param(key="filePath", value="nested")]),
    (BackupStorageType.DataStore, None),
]:
    started = call("start_backup", BackupDto(storage_type=storage, storage_params=params, dump=True))
    assert started.backup_progress_enum is BackupProgressEnum.Backup and started.task_id, started
    assert wait("get_backup_progress", dump=True).task_id == started.task_id
    record = call("get_backup_history", dump=True)[0]
    assert str(record.id) == started.task_id and record.storage_type is storage, record
    assert record.file_name.endswith(".tar.gz"), record
    assert record.created_on >= began, record
    # Facts, section 7: DataStore archives expire after a day; others never, which is year 1.
    lives = record.expires_on - record.created_on
    expected = timedelta(days=1) if storage is BackupStorageType.DataStore else None
    assert record.expires_on.year == 1 if expected is None else abs(lives - expected) < timedelta(minutes=1), record
assert len(call("get_backup_history")) == 3
assert len(call("get_backup_history", dump=False)) == 0

# A wrong request is an exception of the SDK with the status, not one of its models' parsers.
try:
    call("start_backup", BackupDto(storage_type=BackupStorageType.Documents, dump=True))
    raise AssertionError("a backup into a folder without a name was accepted")
except sdk.exceptions.BadRequestException as error:
    assert "error" in error.body, error

restored = call("get_backup_history")[1]
call(
    "start_backup_restore",
    BackupRestoreDto(
        backup_id=str(restored.id), storage_type=BackupStorageType.Local, storage_params=[], notify=False, dump=True
    ),
)
if "get_restore_progress" in here:
    done = wait("get_restore_progress", dump=True)
    assert done.backup_progress_enum is BackupProgressEnum.Restore, done

if "create_backup_schedule" in here:
    schedule = BackupScheduleDto(
        storage_type=BackupStorageType.Local,
        storage_params=[Param(key="folderId", value="1"), Param(key="filePath", value="nested")],
        backups_stored=3,
        cron_params=Cron(period=BackupPeriod.EveryWeek, hour=2, day=1),
        dump=True,
    )
    assert call("create_backup_schedule", schedule) is True
    kept = call("get_backup_schedule", dump=True)
    assert (kept.storage_type, kept.backups_stored, kept.dump) == (BackupStorageType.Local, 3, True), kept
    assert (kept.cron_params.period, kept.cron_params.hour, kept.cron_params.day) == (BackupPeriod.EveryWeek, 2, 1)
    assert call("delete_backup_schedule", dump=True) is True
    assert call("get_backup_schedule", dump=True) is None
if "get_backups_count" in here:
    assert call("get_backups_count") >= 3
    assert call("get_backups_count", var_from=began - timedelta(days=400), to=began - timedelta(days=300)) == 0
if "get_backups_service_state" in here:
    assert call("get_backups_service_state").enabled is True

assert call("delete_backup", restored.id) is True
assert restored.id not in [record.id for record in call("get_backup_history")]
if "delete_backup_history" in here:
    assert call("delete_backup_history", dump=True) is True
    assert call("get_backup_history", dump=True) == []

assert set(called) == here, here - set(called)
print("called", *sorted(here))
print("not there yet", *sorted(set(ROUTES) - here))
