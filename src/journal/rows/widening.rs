//! Rows of what false alarms taught.

use std::time::Duration;

use jiff::Timestamp;

use super::Bad;
use super::words::{RunKeyRow, row};
use crate::domain::widening::{Widened, Widening};

row!(WidenedRow = Widened { copied { bound: Duration, was: Duration, false_alarms: u32 } into {} each {} });

row!(WideningRow = Widening {
    copied { false_alarms: u32, incident: String, by: String, at: Timestamp }
    into { run: RunKeyRow }
    each { stale: Option<WidenedRow>, startup: Option<WidenedRow> }
});

/// A widening as a body.
pub(in crate::journal) fn write_widening(widening: &Widening) -> Result<String, Bad> {
    Ok(serde_json::to_string(&WideningRow::from(widening.clone()))?)
}

/// A widening from a body.
pub(in crate::journal) fn read_widening(body: &[u8]) -> Result<Widening, Bad> {
    Ok(serde_json::from_slice::<WideningRow>(body)?.into())
}
