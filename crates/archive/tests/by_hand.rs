//! The commands in docs/ARCHIVE-FORMAT.md do what it says.

mod common;

use common::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_read_one_entry() {
    let document = include_str!("../../../docs/ARCHIVE-FORMAT.md");
    let script = document.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let files = [
        ("dump", b"True".to_vec()),
        ("noise", noise(900_000, 1)),
        ("a long text", text(3_000_000, 2)),
        ("z", text(700, 1)),
    ];
    let (mut writer, gather) = writer(options(4 << 20));
    for (path, content) in &files {
        writer.append(entry(path), content).await.unwrap();
    }
    let bytes = finish(writer, gather).await.0;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("archive.tar.gz"), &bytes).unwrap();
    for (path, content) in &files {
        let script = format!(
            "cd '{}'; file=archive.tar.gz; path='{path}'; {script}",
            folder.path().display()
        );
        assert!(silent("bash", &["-ec", &script], b"") == *content, "{path}");
    }
}
