//! The command line: one file per subcommand.

pub mod check;
pub mod explain;
mod paint;
#[cfg(test)]
mod tests;
pub mod run;
pub mod sinks;
pub mod status;
