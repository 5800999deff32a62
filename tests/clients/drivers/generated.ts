// The TypeScript client that openapi-generator makes of openapi.yaml: backup, progress, history, our own API
// and restore. BASE and KEY come from the environment.
import {
  ArchivesApi, BackupApi, BackupStorageType, Configuration, HealthApi, Job, JobKind, JobsApi, JobState, ResponseError,
  StorageType,
} from './api';

declare const process: { env: Record<string, string>, exit(status: number): never };

const configuration = new Configuration({ basePath: process.env.BASE, apiKey: process.env.KEY });
const backups = new BackupApi(configuration);
const jobs = new JobsApi(configuration);
const archives = new ArchivesApi(configuration);

function check(condition: unknown, what: unknown): asserts condition {
  if (!condition) throw new Error(JSON.stringify(what));
}

async function wait<T>(ask: () => Promise<T>, done: (answer: T) => boolean): Promise<T> {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const answer = await ask();
    if (done(answer)) return answer;
    check(Date.now() < deadline, answer);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function succeeded(job: Job): Promise<Job> {
  const done = await wait(() => jobs.getJob({ id: job.id }), (one) => one.finishedOn != null);
  check(done.state === JobState.Succeeded && done.percent === 100, done);
  return done;
}

async function main() {
  check((await new HealthApi(configuration).health()).status === 'Healthy', 'health');

  const started = (await backups.startBackup({ backupDto: { storageType: BackupStorageType.Local, dump: true } })).response;
  const finished = await wait(
    async () => (await backups.getBackupProgress({ dump: true })).response,
    (progress) => progress?.isCompleted === true,
  );
  check(finished?.error === '' && finished.taskId === started?.taskId, finished);
  const record = (await backups.getBackupHistory()).response?.[0];
  check(record?.id === started?.taskId, record);

  const job = await succeeded(await jobs.createBackup({ newBackup: { storageType: StorageType.Local, dump: true } }));
  check(job.archiveId, job);
  const archive = await archives.getArchive({ id: job.archiveId });
  check(archive.verifiedOn != null && archive.createdOn <= new Date(Date.now() + 60_000), archive);
  const entries = await archives.listEntries({ id: archive.id, prefix: 'storage/' });
  check(entries.items.some((entry) => entry.path === 'storage/plain.txt'), entries);
  const file = await archives.readEntry({ id: archive.id, path: 'storage/plain.txt' });
  check((await file.text()).startsWith('text '), 'content');
  check((await archives.downloadArchive({ id: archive.id })).size === archive.size, 'size');

  await backups.startBackupRestore({
    backupRestoreDto: { backupId: record!.id, storageType: BackupStorageType.Local, dump: true },
  });
  const restored = await wait(
    async () => (await backups.getRestoreProgress({ dump: true })).response,
    (progress) => progress?.isCompleted === true,
  );
  check(restored?.error === '', restored);
  check((await jobs.listJobs({ kind: JobKind.Restore })).total === 1, 'restores');

  check((await backups.deleteBackup({ id: record!.id })).response === true, 'deleted');
  await backups.deleteBackup({ id: record!.id }).then(
    () => check(false, 'it was deleted twice'),
    (error: ResponseError) => check(error.response?.status === 404, String(error)),
  );
  console.log('backups, progress, history, jobs, archives, restores');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
