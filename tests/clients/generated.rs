//! Clients that openapi-generator makes of `openapi.yaml`, compiled in their languages, and driven through
//! backup, progress, history and restore by the programs in `drivers/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::tool::{self, Target, have, here, made, root, run};

const DONE: &str = "backups, progress, history, jobs, archives, restores";

fn generator() -> PathBuf {
    let python = tool::python();
    let find = "import openapi_generator_cli as o, pathlib; print(pathlib.Path(o.__file__).parent / 'openapi-generator.jar')";
    PathBuf::from(run(Command::new(python).args(["-c", find])).trim())
}

/// Makes a client in a folder. Its warnings about 3.1 are of no interest, its errors are.
fn generate(folder: &Path, generator_name: &str, options: &[&str]) {
    let _ = std::fs::remove_dir_all(folder);
    run(Command::new("java")
        .arg("-jar")
        .arg(generator())
        .args(["generate", "--generator-name", generator_name, "--input-spec"])
        .arg(root().join("openapi.yaml"))
        .arg("--output")
        .arg(folder)
        .args(options));
}

fn sources(driver: &str) -> [PathBuf; 3] {
    [
        root().join("openapi.yaml"),
        root().join("tests/requirements.txt"),
        here("drivers").join(driver),
    ]
}

async fn drive(command: &mut Command) {
    let target = Target::start().await;
    let said = run(target.point(command));
    assert_eq!(said.trim(), DONE);
}

#[tokio::test]
async fn python() {
    if !have(&["python3", "java"]) {
        return;
    }
    let folder = made("python", &sources("generated.py"), |folder| {
        generate(&folder.join("api"), "python", &[]);
    });
    let mut command = Command::new(tool::python());
    drive(command.arg(here("drivers/generated.py")).env("PYTHONPATH", folder.join("api"))).await;
}

#[tokio::test]
async fn typescript() {
    if !have(&["node", "npm", "java"]) {
        return;
    }
    let folder = made("typescript", &sources("generated.ts"), |folder| {
        generate(&folder.join("api"), "typescript-fetch", &[]);
        std::fs::copy(here("drivers/generated.ts"), folder.join("main.ts")).unwrap();
        std::fs::write(folder.join("package.json"), r#"{"private": true}"#).unwrap();
        if !folder.join("node_modules/.bin/tsc").exists() {
            let install = ["install", "--no-audit", "--no-fund", "--no-save", "typescript@5.9.3"];
            run(Command::new("npm").args(install).current_dir(folder));
        }
        // Strict, so that a description that does not fit its use is an error of the compiler.
        let options =
            ["--strict", "--target", "es2022", "--module", "commonjs", "--lib", "es2022,dom"];
        run(Command::new(folder.join("node_modules/.bin/tsc"))
            .args(options)
            .args(["--outDir", "out", "main.ts"])
            .current_dir(folder));
    });
    drive(Command::new("node").arg(folder.join("out/main.js"))).await;
}

#[tokio::test]
async fn java() {
    if !have(&["java", "javac"]) {
        return;
    }
    // Jackson is in the generator itself; the rest is Debian's.
    let jars = ["httpmime", "httpclient", "httpcore", "jakarta-annotation-api"]
        .map(|name| PathBuf::from(format!("/usr/share/java/{name}.jar")));
    if let Some(missing) = jars.iter().find(|jar| !jar.exists()) {
        eprintln!(
            "SKIPPED: {} is not on this machine; scripts/tools.sh installs it on Debian",
            missing.display()
        );
        return;
    }
    let path: Vec<_> =
        jars.iter().chain([&generator()]).map(|jar| jar.display().to_string()).collect();
    let path = path.join(":");
    let folder = made("java", &sources("Generated.java"), |folder| {
        let options = "openApiNullable=false,useJakartaEe=true,hideGenerationTimestamp=true";
        generate(
            &folder.join("api"),
            "java",
            &["--library", "native", "--additional-properties", options],
        );
        let _ = std::fs::remove_dir_all(folder.join("classes"));
        let script = format!(
            "javac -nowarn -Xlint:none -encoding UTF-8 -d classes -cp '{path}' $(find api/src/main -name '*.java') '{}'",
            here("drivers/Generated.java").display()
        );
        run(Command::new("bash").args(["-c", &script]).current_dir(folder));
    });
    drive(Command::new("java").args([
        "-cp",
        &format!("{}:{path}", folder.join("classes").display()),
        "Generated",
    ]))
    .await;
}

#[tokio::test]
async fn rust() {
    if !have(&["java"]) {
        return;
    }
    let manifest = "\
[package]
name = \"generated\"
version = \"0.0.0\"
edition = \"2024\"
[dependencies]
openapi = { path = \"api\", default-features = false }
tokio = { version = \"1\", features = [\"rt\", \"macros\", \"time\"] }
[profile.dev]
debug = false
[workspace]
members = [\"api\"]
";
    let folder = made("rust", &sources("generated.rs"), |folder| {
        generate(&folder.join("api"), "rust", &["--library", "reqwest"]);
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::copy(here("drivers/generated.rs"), folder.join("src/main.rs")).unwrap();
        std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        // The versions that we have anyway.
        if !folder.join("Cargo.lock").exists() {
            std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        }
        let mut cargo = Command::new(env!("CARGO"));
        run(cargo.args(["build", "--quiet", "--target-dir", "target"]).current_dir(folder));
    });
    drive(&mut Command::new(folder.join("target/debug/generated"))).await;
}
