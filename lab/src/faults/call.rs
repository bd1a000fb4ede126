//! Which calls a fault hits.

use std::fmt;

use super::{FaultError, System};

include!(concat!(env!("OUT_DIR"), "/rpcs.rs"));

/// The methods of HTTP that the lab's servers know.
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];
/// The verbs of Kubernetes calls.
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "apply", "patch", "delete"];
/// Whatever it is called.
const ANY: &str = "*";

/// Which calls of a system a fault hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// Every one.
    All,
    /// An HTTP method, or `*`, and a glob of the path.
    Http { method: String, path: String },
    /// A Kubernetes verb and a glob of the path.
    Verb { verb: String, path: String },
    /// A glob of an RPC's name.
    Rpc(String),
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(ANY),
            Self::Http { method, path } => write!(f, "{method} {path}"),
            Self::Verb { verb, path } if path == ANY => f.write_str(verb),
            Self::Verb { verb, path } => write!(f, "{verb} {path}"),
            Self::Rpc(name) => f.write_str(name),
        }
    }
}

/// How the calls of a system are written.
pub(super) fn forms(system: System) -> &'static str {
    match system {
        System::Proxmox | System::Factory | System::Git => "method and path, as `POST */config`",
        System::Talos => "an RPC, as `Bootstrap` or `Etcd*`",
        System::Kubernetes => {
            "a verb with or without a path, as `apply */secrets/*`, or a method and a path"
        }
    }
}

/// How a call looks to faults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Described<'a> {
    pub(crate) system: System,
    pub(crate) machine: Option<&'a str>,
    /// HTTP method and path, without the query.
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// The verb of a Kubernetes call.
    pub(crate) verb: Option<&'a str>,
    /// The RPC's name of a gRPC call.
    pub(crate) rpc: Option<&'a str>,
}

impl Selection {
    /// Reads which calls of a system are meant; none that the system could not get.
    pub(super) fn parse(system: System, text: &str) -> Result<Self, FaultError> {
        if text == ANY {
            return Ok(Self::All);
        }
        let unknown = || FaultError::Call { system, call: text.to_owned() };
        if system == System::Talos {
            let known = RPCS.iter().any(|rpc| glob(text, rpc));
            return if known { Ok(Self::Rpc(text.to_owned())) } else { Err(unknown()) };
        }
        let (first, path) = text.split_once(' ').unwrap_or((text, ""));
        let rooted = path.starts_with(['/', '*']);
        if system == System::Kubernetes && VERBS.contains(&first) && (rooted || first == text) {
            let path = if rooted { path } else { ANY };
            return Ok(Self::Verb { verb: first.to_owned(), path: path.to_owned() });
        }
        if rooted && (first == ANY || METHODS.contains(&first)) {
            return Ok(Self::Http { method: first.to_owned(), path: path.to_owned() });
        }
        Err(unknown())
    }

    pub(super) fn hits(&self, call: &Described<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Http { method, path } => {
                (method == ANY || method == call.method) && glob(path, call.path)
            }
            Self::Verb { verb, path } => call.verb == Some(verb) && glob(path, call.path),
            Self::Rpc(name) => call.rpc.is_some_and(|rpc| glob(name, rpc)),
        }
    }
}

/// Whether a text matches a glob, in which `*` stands for anything, also for slashes.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_texts() {
        assert!(glob("*/config", "/a/b/config"));
        assert!(!glob("*/config", "/a/config/b"));
        assert!(glob("/a/*/c*", "/a/b/b/c"));
        assert!(!glob("/a", "/a/b"));
        assert!(glob("*", ""));
    }
}
