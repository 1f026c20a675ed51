//! The slack sink.
