//! The one table.

/// A row: what was measured, what came out, what it is to be compared with, and what it must reach.
pub struct Row {
    what: String,
    measured: String,
    beside: String,
    target: &'static str,
}

impl Row {
    pub fn new(what: impl Into<String>, measured: String, beside: String, target: &'static str) -> Row {
        Row { what: what.into(), measured, beside, target }
    }

    fn cells(&self) -> [&str; 4] {
        [&self.what, &self.measured, &self.beside, self.target]
    }
}

/// Prints the rows as a table that is also Markdown.
pub fn print(rows: &[Row]) {
    let head = ["what", "measured", "beside it, in the same run", "to reach"];
    let mut widths = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.cells()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; 4]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("| {} |", padded.collect::<Vec<_>>().join(" | "));
    };
    line(head);
    println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
    for row in rows {
        line(row.cells());
    }
}
