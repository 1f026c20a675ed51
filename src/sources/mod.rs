//! Ways in: where events come from.

pub mod child;
