//! The one door to the terminal: data to stdout, everything else to stderr.

mod diagnostic;
pub(crate) mod live;
pub(crate) mod plain;
pub(crate) mod stream;

use std::collections::BTreeSet;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use miette::{GraphicalReportHandler, GraphicalTheme, Report};
use owo_colors::OwoColorize;
use serde_json::Value;
use textwrap::{WordSeparator, WordSplitter};

use crate::abort::Abort;
use crate::exit::Exit;
use crate::render::selection::Refused;
use crate::render::text;

use diagnostic::Shown;

/// Why stdout could not be written, if it could not.
static UNWRITTEN: OnceLock<std::io::Error> = OnceLock::new();

/// How flow speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// One JSON object a line on stdout.
    pub(crate) json: bool,
    /// Whether stderr is a terminal that can move its cursor.
    pub(crate) interactive: bool,
    color: bool,
    width: usize,
}

/// What a mark at the start of a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Done.
    Good,
    /// Failed.
    Bad,
    /// Worth a look.
    Warn,
}

impl Terminal {
    /// What stderr can do, and what the user asked for.
    pub(crate) fn detect(json: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = said.or_else(|| Some(size()?.0)).unwrap_or(text::PAGE);
        text::narrow_to(width);
        Self {
            json,
            interactive: is_terminal && !dumb && !json,
            color: is_terminal && !no_color && !dumb,
            width,
        }
    }

    /// A line for the user, on stderr; silent in JSON mode.
    pub(crate) fn say(self, line: impl AsRef<str>) {
        if !self.json {
            // A closed stderr does not stop a run.
            let _ = writeln!(std::io::stderr(), "{}", line.as_ref());
        }
    }

    /// Lines for the user, as [`Terminal::say`].
    pub(crate) fn say_all(self, lines: &[String]) {
        for line in lines {
            self.say(line);
        }
    }

    /// A line of data for people, on stdout; silent in JSON mode, which has objects instead.
    pub(crate) fn data(self, line: impl AsRef<str>) {
        self.raw(format!("{}\n", line.as_ref()).as_bytes());
    }

    /// Text for stdout as it is, without a newline of ours; silent in JSON mode.
    pub(crate) fn raw(self, text: &[u8]) {
        if !self.json {
            write(text);
        }
    }

    /// One JSON object, on stdout.
    #[expect(clippy::unused_self, reason = "whoever prints does so by the terminal it was given")]
    pub(crate) fn object(self, object: &Value) {
        write(format!("{object}\n").as_bytes());
    }

    /// A mark, coloured where the terminal has colours.
    pub(crate) fn mark(self, mark: Mark) -> String {
        let text = match mark {
            Mark::Good => "✓",
            Mark::Bad => "✗",
            Mark::Warn => "!",
        };
        if !self.color {
            return text.to_owned();
        }
        match mark {
            Mark::Good => text.green().to_string(),
            Mark::Bad => text.red().to_string(),
            Mark::Warn => text.yellow().to_string(),
        }
    }

    /// Whether the user can be asked.
    pub(crate) fn can_ask(self) -> bool {
        self.interactive && std::io::stdin().is_terminal()
    }

    /// A diagnostic with its place, causes and help.
    pub(crate) fn report(self, report: &Report) {
        let theme =
            if self.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        // Names and dates are not torn apart.
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(self.width)
            .with_break_words(false)
            .with_word_separator(WordSeparator::AsciiSpace)
            .with_word_splitter(WordSplitter::NoHyphenation);
        let mut text = String::new();
        if handler.render_report(&mut text, &Shown::new(report.as_ref())).is_err() {
            text = report.to_string();
        }
        // A closed stderr does not change how flow ends.
        let _ = write!(std::io::stderr(), "{text}");
    }
}

/// The columns and rows of the terminal that shows what is said.
fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (columns > 0 && rows > 0).then_some((columns, rows))
}

/// Writes to stdout. A reader that has gone does not matter; any other failure is told once, and
/// makes [`ended`] say so.
fn write(bytes: &[u8]) {
    let mut out = std::io::stdout();
    let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) else { return };
    if error.kind() != ErrorKind::BrokenPipe {
        // Only the first failure counts.
        let _ = UNWRITTEN.set(error);
    }
}

/// How flow exits after a command: what could not be printed is no success.
pub(crate) fn ended(exit: Exit) -> Exit {
    let Some(error) = UNWRITTEN.get() else { return exit };
    // If stderr is closed, too, the exit code has to do.
    let _ = writeln!(std::io::stderr(), "flow: stdout cannot be written: {error}");
    Exit::State
}

impl Abort {
    /// Tells everything and says how to exit.
    pub(crate) fn show_on(self, terminal: Terminal) -> Exit {
        for (at, report) in self.reports.iter().enumerate() {
            if terminal.json {
                terminal.object(&serde_json::json!({
                    "flow": stream::VERSION,
                    "type": "error",
                    "code": report.code().map(|code| code.to_string()),
                    "message": report.to_string(),
                    "causes": diagnostic::causes(report.as_ref()),
                    "help": diagnostic::help(report.as_ref()).map(|help| help.to_string()),
                    "exit": self.exit.code(),
                }));
                continue;
            }
            if at > 0 {
                terminal.say("");
            }
            match report.downcast_ref::<Refused>() {
                Some(refused) => {
                    terminal.say_all(&refused.lines(&terminal.mark(Mark::Bad), self.exit.code()));
                }
                None => terminal.report(report),
            }
        }
        if self.reports.len() > 1 {
            terminal.say("");
            terminal.say(self.total());
        }
        self.exit
    }

    /// How much is wrong, and in how many files.
    fn total(&self) -> String {
        let files = self.reports.iter().filter_map(|report| diagnostic::file(report.as_ref()));
        let files = files.collect::<BTreeSet<_>>().len();
        let place =
            if files > 0 { format!(" in {}", text::count(files, "file")) } else { String::new() };
        format!("{}{place}; nothing was run", text::count(self.reports.len(), "error"))
    }

    /// As [`Abort::show_on`], before it is known how flow speaks.
    pub(crate) fn show(self) -> Exit {
        self.show_on(Terminal::detect(false))
    }
}
