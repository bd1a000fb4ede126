//! The lower end of a terminal: lines that stay go above lines that are painted again and again.

use std::io::{self, Write};

/// Columns that stay free, so that what the terminal echoes (`^C`) does not begin a new line.
const FREE: usize = 4;
/// What a terminal that does not tell its size is taken for.
const SIZE: (usize, usize) = (100, 24);

/// Stderr, which is a terminal.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// How many lines are painted; the cursor is at the end of the last one.
    painted: usize,
}

/// Columns and rows that may be painted.
pub(super) fn size() -> (usize, usize) {
    let (columns, rows) = super::super::size().unwrap_or(SIZE);
    (columns.saturating_sub(FREE).max(20), rows.saturating_sub(1).max(1))
}

impl Screen {
    /// Replaces what is painted, below lines that stay.
    pub(super) fn paint(&mut self, staying: &[String], passing: &[String]) {
        // One write, so that nobody sees half of it. A terminal that went away stops no run.
        let _ = io::stderr().write_all(self.bytes(staying, passing).as_bytes());
    }

    fn bytes(&mut self, staying: &[String], passing: &[String]) -> String {
        let mut bytes = String::new();
        if self.painted > 0 {
            let up = match self.painted - 1 {
                0 => String::new(),
                lines => format!("\x1b[{lines}A"),
            };
            // To the first painted line; then everything from there on is erased.
            bytes = format!("\r{up}\x1b[J");
        }
        for line in staying {
            bytes.push_str(line);
            bytes.push('\n');
        }
        bytes.push_str(&passing.join("\n"));
        self.painted = passing.len();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_above_what_is_painted_again() {
        let lines = |lines: &[&str]| -> Vec<String> {
            lines.iter().map(|line| (*line).to_owned()).collect()
        };
        let mut screen = Screen::default();
        assert_eq!(screen.bytes(&[], &lines(&["a", "b"])), "a\nb");
        assert_eq!(screen.bytes(&lines(&["x"]), &lines(&["c"])), "\r\x1b[1A\x1b[Jx\nc");
        assert_eq!(screen.bytes(&lines(&["y"]), &[]), "\r\x1b[Jy\n");
        assert_eq!(screen.bytes(&[], &[]), "");
    }
}
