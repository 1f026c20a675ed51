//! `runwatch`: parses the command line and carries it out.

use std::process::ExitCode;

fn main() -> ExitCode {
    runwatch::cli::main()
}
