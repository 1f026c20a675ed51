//! The commands, one file each.

pub mod explain;
mod paint;
pub mod status;
#[cfg(test)]
mod tests;
