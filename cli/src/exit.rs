//! Exit codes; the same list as in `docs/reference/exit-codes.md`.

use std::process::ExitCode;

/// How flow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Ok,
    /// A task failed.
    Failed,
    /// `plan --exit-code`: changes are pending.
    Pending,
    /// `plan --exit-code`: changes are pending, and partly unknown.
    PartlyUnknown,
    /// A person must do something first.
    NeedsHuman,
    /// Another process is writing to this site.
    Locked,
    /// The command line is wrong.
    Usage,
    /// A file is wrong.
    InvalidFile,
    /// A bug in flow.
    Bug,
    /// The state cannot be read or written, or stdout cannot be written.
    State,
    /// Interrupted by SIGINT.
    Interrupted,
    /// Ended by SIGTERM or SIGHUP.
    Terminated,
    /// The code of a command that was run for the user.
    Of(u8),
}

impl Exit {
    /// The code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Pending => 2,
            Self::PartlyUnknown => 3,
            Self::NeedsHuman => 4,
            Self::Locked => 5,
            Self::Usage => 64,
            Self::InvalidFile => 65,
            Self::Bug => 70,
            Self::State => 74,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::Of(code) => code,
        }
    }
}

/// Ends the process without waiting for any of its threads.
#[expect(clippy::exit, clippy::disallowed_methods, reason = "asked for the third time")]
pub(crate) fn leave(exit: Exit) -> ! {
    std::process::exit(exit.code().into())
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
