//! One world: what all its systems share.

use std::{
    future::Future,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{
    Faults, System, address::Addresses, clock::Clock, git::Repository, pki::Pki, store::Store,
};

/// Locks state that stays usable when a request's handler panicked.
pub(crate) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call that the lab got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The system that got it.
    pub system: String,
    /// The machine that got it, for systems with several.
    pub machine: Option<String>,
    /// `METHOD /path`, the RPC's name, or the Kubernetes verb and path.
    pub name: String,
    /// Whether it asked for a change.
    pub write: bool,
    /// The fault that was injected.
    pub injected: Option<String>,
    /// The HTTP status of the answer; none while, or because, there was no answer.
    pub status: Option<u16>,
}

/// The calls so far, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<Vec<Call>>);

impl Calls {
    /// Logs a call that has arrived; the number is for [`Calls::answered`].
    pub(crate) fn begin(&self, system: System, machine: Option<&str>, call: Arrived) -> usize {
        let Arrived { name, write, injected } = call;
        let mut calls = locked(&self.0);
        calls.push(Call {
            system: system.name().to_owned(),
            machine: machine.map(str::to_owned),
            name,
            write,
            injected,
            status: None,
        });
        calls.len() - 1
    }

    /// Logs a call's answer, and that it asked for no change if the handler says so.
    pub(crate) fn answered(&self, number: usize, status: u16, changed_nothing: bool) {
        if let Some(call) = locked(&self.0).get_mut(number) {
            call.status = Some(status);
            call.write &= !changed_nothing;
        }
    }

    pub(crate) fn list(&self) -> Vec<Call> {
        locked(&self.0).clone()
    }
}

/// A call as it arrives.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) name: String,
    pub(crate) write: bool,
    pub(crate) injected: Option<String>,
}

/// What all systems of a world share. A clone is the same world.
#[derive(Debug, Clone)]
pub(crate) struct World(Arc<Shared>, Arc<Mutex<StdRng>>);

/// The parts a world is made of.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) faults: Faults,
    pub(crate) calls: Calls,
    pub(crate) addresses: Addresses,
    pub(crate) pki: Pki,
    pub(crate) git: Repository,
    pub(crate) activities: Mutex<JoinSet<()>>,
}

impl World {
    pub(crate) fn new(shared: Shared) -> Self {
        let drawn = Mutex::new(StdRng::seed_from_u64(shared.seed));
        Self(Arc::new(shared), Arc::new(drawn))
    }

    /// The world's folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Draws a number; the same seed gives the same sequence.
    pub(crate) fn draw(&self, range: Range<u32>) -> u32 {
        locked(&self.1).random_range(range)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.0.clock
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.0.faults
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.0.calls
    }

    pub(crate) fn address(&self) -> Addresses {
        self.0.addresses
    }

    pub(crate) fn pki(&self) -> &Pki {
        &self.0.pki
    }

    /// The repository that the git server serves.
    pub(crate) fn git(&self) -> &Repository {
        &self.0.git
    }

    /// Runs something in the background until it ends or the world does.
    ///
    /// Must be called on the world's runtime.
    pub(crate) fn spawn(
        &self,
        activity: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::AbortHandle {
        let mut activities = locked(&self.0.activities);
        while activities.try_join_next().is_some() {}
        activities.spawn(activity)
    }

    /// Ends everything in the background, wherever it stands.
    pub(crate) fn cut(&self) {
        locked(&self.0.activities).abort_all();
    }
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// A world without servers in a folder of its own.
    pub(crate) struct Scratch {
        pub(crate) world: World,
        _folder: tempfile::TempDir,
    }

    impl Scratch {
        pub(crate) fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let world = World::new(Shared {
                dir: folder.path().to_owned(),
                seed: 1,
                clock: Clock::new(1000.0),
                store: Store::open(&folder.path().join("world.redb")).unwrap(),
                faults: Faults::default(),
                calls: Calls::default(),
                addresses: Addresses::new(254),
                pki: Pki::open(folder.path()).unwrap(),
                git: Repository::new(std::collections::BTreeMap::new()),
                activities: Mutex::default(),
            });
            Self { world, _folder: folder }
        }

        /// A client that trusts the world's authority.
        pub(crate) fn client(&self) -> reqwest::Client {
            client(self.world.pki().certificate_pem())
        }
    }

    /// A client that trusts this authority alone.
    pub(crate) fn client(authority_pem: &str) -> reqwest::Client {
        crate::http::client(authority_pem).unwrap()
    }
}
