// The Java client that openapi-generator makes of openapi.yaml: backup, progress, history, our own API and
// restore. BASE and KEY come from the environment.
import java.nio.file.Files;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.ArchivesApi;
import org.openapitools.client.api.BackupApi;
import org.openapitools.client.api.JobsApi;
import org.openapitools.client.model.*;

public class Generated {
    static <T> T await(Callable<T> ask, Predicate<T> done) throws Exception {
        long deadline = System.nanoTime() + 120_000_000_000L;
        while (true) {
            T answer = ask.call();
            if (done.test(answer)) return answer;
            check(System.nanoTime() < deadline, answer);
            Thread.sleep(50);
        }
    }

    static void check(boolean condition, Object what) {
        if (!condition) throw new AssertionError(String.valueOf(what));
    }

    public static void main(String[] arguments) throws Exception {
        ApiClient client = new ApiClient();
        client.updateBaseUri(System.getenv("BASE"));
        client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + System.getenv("KEY")));
        BackupApi backups = new BackupApi(client);
        JobsApi jobs = new JobsApi(client);
        ArchivesApi archives = new ArchivesApi(client);

        BackupProgress started =
            backups.startBackup(new BackupDto().storageType(BackupStorageType.Local).dump(true)).getResponse();
        BackupProgress finished = await(
            () -> backups.getBackupProgress(true).getResponse(), progress -> progress.getIsCompleted());
        check(finished.getError().isEmpty() && finished.getTaskId().equals(started.getTaskId()), finished);
        BackupHistoryRecord record = backups.getBackupHistory(null).getResponse().get(0);
        check(record.getId().toString().equals(started.getTaskId()), record);
        check(record.getExpiresOn().getYear() == 1, record);

        Job asked = jobs.createBackup(new NewBackup().storageType(StorageType.LOCAL).dump(true));
        Job job = await(() -> jobs.getJob(asked.getId()), one -> one.getFinishedOn() != null);
        check(job.getState() == JobState.SUCCEEDED, job);
        Archive archive = archives.getArchive(job.getArchiveId());
        check(archive.getVerifiedOn() != null, archive);
        check(archives.downloadArchive(archive.getId(), null, null).length() == archive.getSize(), archive);
        check(Files.readString(archives.readEntry(archive.getId(), "storage/plain.txt").toPath()).startsWith("text "), archive);

        backups.startBackupRestore(new BackupRestoreDto()
            .backupId(record.getId().toString()).storageType(BackupStorageType.Local).dump(true));
        BackupProgress restored = await(
            () -> backups.getRestoreProgress(true).getResponse(), progress -> progress.getIsCompleted());
        check(restored.getError().isEmpty(), restored);

        check(backups.deleteBackup(record.getId()).getResponse(), record);
        try {
            backups.deleteBackup(record.getId());
            check(false, "it was deleted twice");
        } catch (ApiException error) {
            check(error.getCode() == 404, error);
        }
        System.out.println("backups, progress, history, jobs, archives, restores");
    }
}
