//! What can go wrong between flow and one machine.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use flow_engine::{KindError, Retry};

/// A machine as messages name it, and where its API is dialled: always at its own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// Its name.
    pub(super) name: String,
    /// Its API.
    pub(super) address: SocketAddr,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

/// What lies below a failure of a connection.
pub(super) type Cause = Box<dyn StdError + Send + Sync>;

/// Why a machine did not do what it was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum CallError {
    /// Nobody listens: it is off, booting, or its API restarts. Nothing was asked.
    #[error("machine {machine} is not reachable")]
    #[diagnostic(
        code(talos::unreachable),
        help("check that the machine runs and that its API port is open")
    )]
    Unreachable {
        /// The machine asked.
        machine: Machine,
        /// What the connection saw.
        source: io::Error,
    },
    /// It proves to be of another cluster, or somebody else's.
    #[error("machine {machine} belongs to another authority")]
    #[diagnostic(
        code(talos::foreign),
        help(
            "its certificate is not signed by this cluster's secrets: another machine has the \
             address, or the secrets are not those that it was configured with"
        )
    )]
    Foreign {
        /// The machine asked.
        machine: Machine,
        /// What is wrong with its certificate.
        source: rustls::Error,
    },
    /// It has left maintenance mode. Nothing was asked.
    #[error("machine {machine} is configured: it wants a client certificate")]
    #[diagnostic(code(talos::configured), help("look again: it is asked with one next time"))]
    Configured {
        /// The machine asked.
        machine: Machine,
    },
    /// It does not let us.
    #[error("machine {machine} does not permit {call}")]
    #[diagnostic(
        code(talos::unauthorised),
        help("check that the clocks agree and that the secrets are this cluster's")
    )]
    Unauthorised {
        /// The machine asked.
        machine: Machine,
        /// What was asked.
        call: &'static str,
        /// What it said.
        source: Cause,
    },
    /// The answer did not arrive; what was asked may have been done.
    #[error("machine {machine} gave no answer to {call}")]
    #[diagnostic(code(talos::interrupted), help("it may have been done: look before asking again"))]
    Interrupted {
        /// The machine asked.
        machine: Machine,
        /// What was asked.
        call: &'static str,
        /// What the connection saw.
        source: Cause,
    },
    /// It is not ready for this yet, and has not begun it.
    #[error("machine {machine} is not ready for {call}")]
    #[diagnostic(code("talos::not-ready"), help("it usually is after a few seconds"))]
    NotReady {
        /// The machine asked.
        machine: Machine,
        /// What was asked.
        call: &'static str,
        /// What it said.
        source: Answer,
    },
    /// It will never do this.
    #[error("machine {machine} refused {call}")]
    #[diagnostic(code(talos::refused), help("the machine's own words follow"))]
    Refused {
        /// The machine asked.
        machine: Machine,
        /// What was asked.
        call: &'static str,
        /// What it said.
        source: Answer,
    },
    /// It failed, or what it said cannot be understood; what was asked may have been done.
    #[error("machine {machine} failed at {call}")]
    #[diagnostic(code(talos::failed), help("its log may say more: `talosctl dmesg`"))]
    Failed {
        /// The machine asked.
        machine: Machine,
        /// What was asked.
        call: &'static str,
        /// What it said.
        source: Answer,
    },
}

/// Another machine has the address of a planned one; it was told nothing.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("at the address of {machine} answers another machine, with the uuid {uuid}")]
#[diagnostic(
    code("talos::other-machine"),
    help("free the address, or plan another one in the site file")
)]
pub(super) struct OtherMachine {
    /// The planned machine.
    pub(super) machine: Machine,
    /// The uuid of the one that answers.
    pub(super) uuid: String,
}

/// What a machine answered instead of a result.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code})")]
pub(super) struct Answer {
    /// The gRPC code in words.
    pub(super) code: String,
    /// Its own words.
    pub(super) message: String,
}

impl Answer {
    /// An answer that could be read, but makes no sense.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self { code: "malformed".to_owned(), message: message.into() }
    }
}

impl KindError for CallError {
    fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. }
            | Self::Configured { .. }
            | Self::Interrupted { .. }
            | Self::NotReady { .. }
            | Self::Failed { .. } => Retry::Backoff,
            Self::Refused { .. } => Retry::Never,
            Self::Foreign { .. } | Self::Unauthorised { .. } => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Foreign { .. }
            | Self::Configured { .. }
            | Self::Unauthorised { .. }
            | Self::NotReady { .. }
            | Self::Refused { .. } => true,
            Self::Interrupted { .. } | Self::Failed { .. } => false,
        }
    }
}
