//! Faults that are injected into single calls: `SYSTEM[@MACHINE]:CALL:FAULT[:COUNT]`.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::world::locked;

/// A system of the lab that serves calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// The Proxmox API.
    Proxmox,
    /// The image factory.
    Factory,
    /// The git server.
    Git,
    /// The API of a Talos machine.
    Talos,
    /// A Kubernetes API server.
    Kubernetes,
}

impl System {
    const ALL: [Self; 5] = [Self::Proxmox, Self::Factory, Self::Git, Self::Talos, Self::Kubernetes];

    /// The system's name in faults, counts and call logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxmox => "proxmox",
            Self::Factory => "factory",
            Self::Git => "git",
            Self::Talos => "talos",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Answered 503, or UNAVAILABLE for gRPC; the call is not carried out.
    Unavailable,
    /// The connection is aborted; the call is not carried out.
    Reset,
    /// Never answered; the call is not carried out.
    Hang,
    /// Carried out after a real delay.
    Slow(Duration),
    /// Carried out; the body of the reply is garbage.
    Malformed,
    /// Carried out to its end; then the connection is aborted.
    ReplyLost,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable => f.write_str("5xx"),
            Self::Reset => f.write_str("reset"),
            Self::Hang => f.write_str("hang"),
            Self::Slow(delay) => write!(f, "slow={}s", delay.as_secs_f64()),
            Self::Malformed => f.write_str("malformed"),
            Self::ReplyLost => f.write_str("reply-lost"),
        }
    }
}

impl FromStr for Effect {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let unknown = || FaultError::Effect { effect: text.to_owned() };
        match text {
            "5xx" => Ok(Self::Unavailable),
            "reset" => Ok(Self::Reset),
            "hang" => Ok(Self::Hang),
            "malformed" => Ok(Self::Malformed),
            "reply-lost" => Ok(Self::ReplyLost),
            other => {
                let seconds = other
                    .strip_prefix("slow=")
                    .and_then(|delay| delay.strip_suffix('s'))
                    .and_then(|seconds| seconds.parse::<f64>().ok())
                    .ok_or_else(unknown)?;
                Duration::try_from_secs_f64(seconds).map(Self::Slow).map_err(|_| unknown())
            }
        }
    }
}

/// Which calls of a system a fault hits.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selection {
    /// An HTTP method, or `*`, and a glob of the path.
    Http { method: String, path: String },
    /// A Kubernetes verb and a glob of the path.
    Verb { verb: String, path: String },
    /// A glob of an RPC's name.
    Rpc(String),
}

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "apply", "patch", "delete"];

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { method, path } => write!(f, "{method} {path}"),
            Self::Verb { verb, path } if path == "*" => f.write_str(verb),
            Self::Verb { verb, path } => write!(f, "{verb} {path}"),
            Self::Rpc(name) => f.write_str(name),
        }
    }
}

impl FromStr for Selection {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (first, path) = text.split_once(' ').map_or((text, None), |(f, p)| (f, Some(p)));
        if VERBS.contains(&first) {
            let path = path.unwrap_or("*").to_owned();
            return Ok(Self::Verb { verb: first.to_owned(), path });
        }
        let method = first == "*" || first.bytes().all(|byte| byte.is_ascii_uppercase());
        match path {
            Some(path) if method && !first.is_empty() => {
                Ok(Self::Http { method: first.to_owned(), path: path.to_owned() })
            }
            None if !first.is_empty() => Ok(Self::Rpc(first.to_owned())),
            Some(_) | None => Err(FaultError::Call { call: text.to_owned() }),
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
    fn hits(&self, call: &Described<'_>) -> bool {
        match self {
            Self::Http { method, path } => {
                call.rpc.is_none() && glob(method, call.method) && glob(path, call.path)
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

/// One fault: which calls, what happens to them, how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    system: System,
    machine: Option<String>,
    call: Selection,
    effect: Effect,
    /// How often it still happens; none means always.
    left: Option<u32>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, machine, call, effect, left } = self;
        write!(f, "{system}")?;
        if let Some(machine) = machine {
            write!(f, "@{machine}")?;
        }
        write!(f, ":{call}:{effect}")?;
        match left {
            Some(times) => write!(f, ":{times}"),
            None => write!(f, ":always"),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let shape = || FaultError::Shape { fault: text.to_owned() };
        let (place, rest) = text.split_once(':').ok_or_else(shape)?;
        let (rest, last) = rest.rsplit_once(':').ok_or_else(shape)?;
        let counted = match last {
            "always" => Some(None),
            number => number.parse::<u32>().ok().map(Some),
        };
        // The call may hold colons itself, as the ids of Proxmox' tasks do: what follows it is read from the end.
        let (call, effect, left) = match counted {
            Some(left) => {
                let (call, effect) = rest.rsplit_once(':').ok_or_else(shape)?;
                (call, effect, left)
            }
            None => (rest, last, Some(1)),
        };
        let (system, machine) =
            place.split_once('@').map_or((place, None), |(s, m)| (s, Some(m.to_owned())));
        let system = System::ALL
            .into_iter()
            .find(|known| known.name() == system)
            .ok_or_else(|| FaultError::System { system: system.to_owned() })?;
        Ok(Self { system, machine, call: call.parse()?, effect: effect.parse()?, left })
    }
}

/// A text that is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum FaultError {
    /// Parts are missing.
    #[error("`{fault}` is not a fault")]
    #[diagnostic(code(lab::fault_shape), help("write SYSTEM[@MACHINE]:CALL:FAULT[:COUNT]"))]
    Shape {
        /// The text.
        fault: String,
    },
    /// The lab has no such system.
    #[error("the lab has no system `{system}`")]
    #[diagnostic(code(lab::fault_system), help("one of proxmox, factory, git, talos, kubernetes"))]
    System {
        /// The unknown name.
        system: String,
    },
    /// The call is neither method and path, nor RPC, nor verb.
    #[error("`{call}` names no call")]
    #[diagnostic(
        code(lab::fault_call),
        help("write `POST */config`, an RPC as `Bootstrap`, or a verb as `apply */secrets/*`")
    )]
    Call {
        /// The text.
        call: String,
    },
    /// The effect is unknown.
    #[error("`{effect}` is not something that can happen to a call")]
    #[diagnostic(
        code(lab::fault_effect),
        help("one of 5xx, reset, hang, slow=2s, malformed, reply-lost")
    )]
    Effect {
        /// The text.
        effect: String,
    },
}

/// The faults in force. A clone is the same set.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(Arc::new(Mutex::new(faults)))
    }

    /// Adds a fault after the ones in force; the first that fits a call happens.
    pub fn add(&self, fault: Fault) {
        locked(&self.0).push(fault);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        locked(&self.0).clear();
    }

    /// The faults in force, with what is left of their counts.
    #[must_use]
    pub fn list(&self) -> Vec<Fault> {
        locked(&self.0).clone()
    }

    /// What happens to a call, counted down.
    pub(crate) fn take(&self, call: &Described<'_>) -> Option<Effect> {
        let mut faults = locked(&self.0);
        let at = faults.iter().position(|fault| {
            fault.system == call.system
                && fault.machine.as_deref().is_none_or(|machine| call.machine == Some(machine))
                && fault.call.hits(call)
        })?;
        let effect = faults[at].effect;
        if let Some(left) = &mut faults[at].left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                faults.remove(at);
            }
        }
        Some(effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(system: System, method: &'a str, path: &'a str) -> Described<'a> {
        Described { system, machine: None, method, path, verb: None, rpc: None }
    }

    #[test]
    fn faults_are_read_and_written_back() {
        for text in [
            "proxmox:POST */config:reply-lost:1",
            "talos@controlplane0:Bootstrap:hang:always",
            "proxmox:GET */tasks/UPID:lab-pve:*/status:slow=2s:3",
            "kubernetes:apply */secrets/*:5xx:1",
            "kubernetes:watch:reset:2",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        let once: Fault = "factory:POST /schematics:5xx".parse().unwrap();
        assert_eq!(once.to_string(), "factory:POST /schematics:5xx:1");
    }

    #[test]
    fn what_is_no_fault_says_why() {
        let error = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
        assert_eq!(error("proxmox"), "`proxmox` is not a fault");
        assert_eq!(error("nas:GET /:reset"), "the lab has no system `nas`");
        assert_eq!(
            error("git:GET /:explode"),
            "`explode` is not something that can happen to a call"
        );
        assert_eq!(error("git:Get /:reset"), "`Get /` names no call");
    }

    #[test]
    fn globs_match_whole_texts() {
        assert!(glob("*/config", "/a/b/config"));
        assert!(!glob("*/config", "/a/config/b"));
        assert!(glob("/a/*/c*", "/a/b/b/c"));
        assert!(!glob("/a", "/a/b"));
        assert!(glob("*", ""));
    }

    #[test]
    fn a_fault_happens_as_often_as_it_says() {
        let faults = Faults::new(vec!["git:GET /x:reset:2".parse().unwrap()]);
        let hit = call(System::Git, "GET", "/x");
        assert_eq!(faults.take(&call(System::Git, "GET", "/y")), None);
        assert_eq!(faults.take(&call(System::Factory, "GET", "/x")), None);
        assert_eq!(faults.take(&hit), Some(Effect::Reset));
        assert_eq!(faults.take(&hit), Some(Effect::Reset));
        assert_eq!(faults.take(&hit), None);
    }

    #[test]
    fn a_machine_is_hit_alone() {
        let faults = Faults::new(vec!["talos@a:Version:hang:always".parse().unwrap()]);
        let on = |machine| Described {
            machine: Some(machine),
            rpc: Some("Version"),
            ..call(System::Talos, "POST", "/machine.MachineService/Version")
        };
        assert_eq!(faults.take(&on("b")), None);
        assert_eq!(faults.take(&on("a")), Some(Effect::Hang));
    }
}
