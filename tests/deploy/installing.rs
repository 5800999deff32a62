//! The steps of `docs/OPERATIONS.md` that need Docker, Kubernetes or systemd, run with stand-ins for those
//! programs: they note what they are asked, and refuse what the real ones would for want of a file or a value.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use portal_backup::config;

use super::rendered::{chart, list, of_kind, root, text};

/// The first block of commands under a heading.
fn block(heading: &str) -> String {
    let document = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let under = document.split_once(&format!("\n### {heading}\n")).unwrap().1;
    under.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0.to_owned()
}

const NOTE: &str = "echo \"${0##*/} $*\" >>\"$NOTES\"\n";

/// Of a compose file: every value it demands is known, and every secret's file is there and not empty.
const DOCKER: &str = r#"
case "$*" in
  *"stat -c %u:%g"*) id -u | tr '\n' ':'; id -g ;;
  inspect*) echo docspace_app_data ;;
  "compose -f "*)
    home=$(dirname "$3")
    for name in $(grep -oP '\$\{\K\w+(?=:\?)' "$3"); do
      grep -q "^$name=." "$home/.env" || { echo "$name is not set" >&2; exit 1; }
    done
    for secret in $(grep -oP '\{ file: "\K[^"]+' "$3"); do
      [ -s "$home/$secret" ] || { echo "there is no $secret" >&2; exit 1; }
    done ;;
esac
"#;

/// Folders and values files that are named must be there.
const HELM: &str = r#"
for word in "$@"; do
  case "$word" in deploy/*) [ -e "$word" ] || { echo "there is no $word" >&2; exit 1; } ;; esac
done
"#;

/// A machine with a copy of `deploy/` on it.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        for folder in ["bin", "usr/local/bin", "etc/systemd/system", "data", "target/release"] {
            std::fs::create_dir_all(machine.path(folder)).unwrap();
        }
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(root().join("deploy")).arg(machine.dir.path());
        assert!(copy.status().unwrap().success());
        let program = env!("CARGO_BIN_EXE_portal-backup");
        std::os::unix::fs::symlink(program, machine.path("target/release/portal-backup")).unwrap();
        for (name, does) in [("docker", DOCKER), ("helm", HELM), ("kubectl", ""), ("systemctl", "")]
        {
            let file = machine.path("bin").join(name);
            std::fs::write(&file, format!("#!/bin/bash\n{NOTE}{does}")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the block; what the stand-ins were asked.
    fn run(&self, heading: &str) -> Vec<String> {
        let home = self.dir.path().display().to_string();
        let script = block(heading)
            .replace("/var/www/onlyoffice/Data", &format!("{home}/data"))
            .replace(" /backups", &format!(" {home}/backups"))
            .replace("/usr/local/bin", &format!("{home}/usr/local/bin"))
            .replace("/etc/", &format!("{home}/etc/"));
        let notes = self.path("notes");
        let _ = std::fs::remove_file(&notes);
        let output = Command::new("bash")
            .args(["-euxo", "pipefail", "-c", &script])
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", format!("{home}/bin:{}", std::env::var("PATH").unwrap()))
            .env("NOTES", &notes)
            .envs([("APP_CORE_MACHINEKEY", "key"), ("DOCSPACE_KEY", "sk-1")])
            .envs([("MYSQL_USER", "onlyoffice_user"), ("MYSQL_PASSWORD", "x")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{heading}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(notes).unwrap().lines().map(str::to_owned).collect()
    }
}

fn position(notes: &[String], words: &str) -> usize {
    let found = notes.iter().position(|note| note.contains(words));
    found.unwrap_or_else(|| panic!("{words} is not among {notes:#?}"))
}

#[test]
fn docker_has_all_it_asks_for_and_the_volumes_an_owner_before_the_service_starts() {
    let machine = Machine::new();
    let notes = machine.run("Docker");
    let stopped = position(&notes, "docker stop onlyoffice-backup ");
    let owned = position(&notes, "--entrypoint chown portal-backup -R");
    let started = position(&notes, " up --wait");
    assert!(stopped < owned && owned < started, "{notes:#?}");
    // Root without capabilities can neither look into the folders of others nor give them away.
    for capability in ["--cap-add CHOWN", "--cap-add DAC_READ_SEARCH"] {
        assert!(notes[owned].contains(capability), "{}", notes[owned]);
    }
    assert!(position(&notes, "portal-backup config check") > started);
    // And back again, in a shell that knows nothing any more.
    let notes = machine.run("Back to DocSpace's service");
    assert!(position(&notes, " down") < position(&notes, "docker start onlyoffice-backup "));
    assert!(
        position(&notes, "disable --now portal-backup") < position(&notes, "enable --now docspace")
    );
    position(&notes, "helm uninstall portal-backup");
}

#[test]
fn kubernetes_has_every_secret_that_the_values_name() {
    let notes = Machine::new().run("Kubernetes");
    let secret = position(&notes, "create secret generic portal-backup");
    let pod = &of_kind(chart("docspace"), "Deployment")[0]["spec"]["template"]["spec"];
    let volumes =
        list(&pod["volumes"]).iter().flat_map(|volume| list(&volume["projected"]["sources"]));
    let ours = volumes.map(|one| &one["secret"]).filter(|secret| secret["name"] == "portal-backup");
    let keys: Vec<_> =
        ours.flat_map(|secret| list(&secret["items"])).map(|one| text(&one["key"])).collect();
    assert!(keys.len() >= 2, "{keys:?}");
    for key in keys {
        assert!(
            notes[secret].contains(&format!("--from-literal={key}=")),
            "{key}: {}",
            notes[secret]
        );
    }
    assert!(secret < position(&notes, "helm install portal-backup deploy/helm/portal-backup"));
}

#[test]
fn packages_run_as_who_owns_the_files_and_may_write_them() {
    let machine = Machine::new();
    let notes = machine.run("Packages");
    position(&notes, "systemctl daemon-reload");
    let override_ = machine.path("etc/systemd/system/portal-backup.service.d/docspace.conf");
    let said = std::fs::read_to_string(override_).unwrap();
    let own = Command::new("id").arg("-un").output().unwrap().stdout;
    let own = String::from_utf8(own).unwrap();
    assert!(said.contains(&format!("User={own}")), "{said}");
    assert!(
        said.contains(&format!("ReadWritePaths={}\n", machine.path("data").display())),
        "{said}"
    );
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&machine.path("backups")), 0o750);
    let sample = machine.path("etc/portal-backup/portal-backup.toml");
    assert_eq!(mode(&sample), 0o640);
    config::load(Some(&sample), []).unwrap();
    assert_eq!(mode(&machine.path("usr/local/bin/portal-backup")), 0o755);
    assert!(machine.path("etc/systemd/system/portal-backup.service").exists());
}
