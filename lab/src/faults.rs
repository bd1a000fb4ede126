//! Faults that are injected into single calls: `SYSTEM[@MACHINE]:CALL:FAULT[:COUNT]`.

mod call;

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

pub(crate) use call::Described;
use call::Selection;

use crate::world::locked;

/// The count of a fault that does not end.
const ALWAYS: &str = "always";

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

    /// Whether several machines serve it, each under its own name.
    fn has_machines(self) -> bool {
        match self {
            Self::Talos | Self::Kubernetes => true,
            Self::Proxmox | Self::Factory | Self::Git => false,
        }
    }

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
            None => write!(f, ":{ALWAYS}"),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    /// Whatever could never hit a call is refused: a fault that does not happen proves nothing.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let shape = || FaultError::Shape { fault: text.to_owned() };
        let (place, rest) = text.split_once(':').ok_or_else(shape)?;
        let (rest, last) = rest.rsplit_once(':').ok_or_else(shape)?;
        // The call may hold colons itself, as the ids of Proxmox' tasks do: what follows it is read from the end.
        let (call, effect, left) = if is_count(last) {
            let (call, effect) = rest.rsplit_once(':').ok_or_else(shape)?;
            (call, effect, count(last)?)
        } else {
            (rest, last, Some(1))
        };
        let (system, machine) =
            place.split_once('@').map_or((place, None), |(s, m)| (s, Some(m.to_owned())));
        let system = System::ALL
            .into_iter()
            .find(|known| known.name() == system)
            .ok_or_else(|| FaultError::System { system: system.to_owned() })?;
        if let Some(machine) = &machine
            && (machine.is_empty() || !system.has_machines())
        {
            let machine = machine.clone();
            return Err(FaultError::NoMachines { system, machine });
        }
        let call = Selection::parse(system, call)?;
        Ok(Self { system, machine, call, effect: effect.parse()?, left })
    }
}

/// Whether the last part of a fault is meant as its count.
fn is_count(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    number || text == ALWAYS
}

/// How often a fault happens; none means always.
fn count(text: &str) -> Result<Option<u32>, FaultError> {
    if text == ALWAYS {
        return Ok(None);
    }
    let times = text.parse().ok().filter(|times| *times > 0);
    times.map(Some).ok_or_else(|| FaultError::Count { count: text.to_owned() })
}

impl Fault {
    /// The same, if it names no machine or one of these.
    ///
    /// # Errors
    ///
    /// [`FaultError::Machine`].
    pub fn among<'a>(self, machines: impl Iterator<Item = &'a str>) -> Result<Self, FaultError> {
        let Some(machine) = &self.machine else { return Ok(self) };
        let known: Vec<&str> = machines.collect();
        if known.contains(&machine.as_str()) {
            return Ok(self);
        }
        Err(FaultError::Machine { machine: machine.clone(), known: known.join(", ") })
    }
}

/// A text that is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum FaultError {
    /// Parts are missing.
    #[error("`{fault}` is not a fault")]
    #[diagnostic(code("lab::fault-shape"), help("write SYSTEM[@MACHINE]:CALL:FAULT[:COUNT]"))]
    Shape {
        /// The text.
        fault: String,
    },
    /// The lab has no such system.
    #[error("the lab has no system `{system}`")]
    #[diagnostic(
        code("lab::fault-system"),
        help("one of proxmox, factory, git, talos, kubernetes")
    )]
    System {
        /// The unknown name.
        system: String,
    },
    /// The system has one server only.
    #[error("{system} has no machine `{machine}`")]
    #[diagnostic(
        code("lab::fault-machine"),
        help("only talos and kubernetes are served by several machines: talos@controlplane0")
    )]
    NoMachines {
        /// The system.
        system: System,
        /// The text.
        machine: String,
    },
    /// The site plans no such machine.
    #[error("the site has no machine `{machine}`")]
    #[diagnostic(code("lab::fault-machine"), help("one of {known}"))]
    Machine {
        /// The text.
        machine: String,
        /// The machines of the site.
        known: String,
    },
    /// The system has no such call.
    #[error("`{call}` is no call of {system}")]
    #[diagnostic(code("lab::fault-call"), help("write `*`, or {}", call::forms(*system)))]
    Call {
        /// The system.
        system: System,
        /// The text.
        call: String,
    },
    /// It would never happen.
    #[error("a fault cannot happen {count} times")]
    #[diagnostic(code("lab::fault-count"), help("write 1 or more, or `always`"))]
    Count {
        /// The text.
        count: String,
    },
    /// The effect is unknown.
    #[error("`{effect}` is not something that can happen to a call")]
    #[diagnostic(
        code("lab::fault-effect"),
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
mod tests;
