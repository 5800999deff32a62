use std::process::ExitCode;

fn main() -> ExitCode {
    portal_backup::cli::main()
}
