//! Starting and stopping a world.

use std::{
    collections::BTreeMap,
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
    thread::JoinHandle,
};

use tokio::sync::oneshot;

use crate::{
    Call, Count, Fault, Faults, Owner, OwnerError, PkiError, Status, StoreError,
    address::Addresses,
    clock::Clock,
    control::{self, Control},
    factory::Factory,
    git::{self, Repository},
    kubernetes::Kubernetes,
    owner::{self, Lock},
    pki::{Pki, write_private},
    proxmox::Proxmox,
    serve,
    store::Store,
    talos::Machines,
    world::{Calls, Shared, World},
};

/// File name of the world in its folder.
const WORLD: &str = "world.redb";
/// File name of root's password in the world's folder.
const ROOT_PASSWORD: &str = "root-password";
/// The octets that are drawn from.
const DRAWN: std::ops::RangeInclusive<u8> = 3..=250;

/// How a world is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// The world's folder.
    pub dir: PathBuf,
    /// The second octet of all its addresses.
    pub octet: u8,
    /// How many seconds of the world pass in a real one.
    pub speed: f64,
    /// The seed of what is drawn at random.
    pub seed: u64,
    /// The faults in force from the start.
    pub faults: Vec<Fault>,
    /// The tree that the git server serves: path to content.
    pub tree: BTreeMap<String, Vec<u8>>,
}

impl Options {
    /// A world without faults in `dir`, at speed 60.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            octet: 2,
            speed: 60.0,
            seed: 1,
            faults: Vec::new(),
            tree: BTreeMap::new(),
        }
    }
}

/// A world cannot be started, looked at or removed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The folder is in use or unusable.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Owner(#[from] OwnerError),
    /// The store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The certificate authority failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pki(#[from] PkiError),
    /// An address cannot be listened on.
    #[error("the lab cannot listen on {address}")]
    #[diagnostic(
        code("lab::address-taken"),
        help(
            "stop what listens there (`ss -tlnp`); on macOS the address must be added to lo0 first"
        )
    )]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// All octets are in use.
    #[error("no free addresses for a lab below 127.0.0.0/8")]
    #[diagnostic(code("lab::addresses-taken"), help("stop other labs"))]
    NoOctet,
    /// The operating system refuses something else.
    #[error("the lab cannot {what}")]
    #[diagnostic(code(lab::system), help("check free memory, disk space and file descriptors"))]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running world. Dropping it is a power cut.
#[derive(Debug)]
pub struct Lab {
    control: Option<Control>,
    octet: u8,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    lock: Option<Lock>,
}

impl Lab {
    /// Opens the world, making it if need be, and returns when all fixed addresses listen.
    ///
    /// # Errors
    ///
    /// If another process runs this world, or an address or the folder cannot be used.
    pub fn start(options: Options) -> Result<Self, Error> {
        let lock = Lock::take(&options.dir)?;
        let guard = guard(options.octet)?;
        Self::launch(options, lock, guard)
    }

    /// As [`Lab::start`], on the first octet that no other lab of this machine uses.
    ///
    /// # Errors
    ///
    /// As [`Lab::start`], and if all octets are in use.
    pub fn draw(mut options: Options) -> Result<Self, Error> {
        let lock = Lock::take(&options.dir)?;
        for octet in DRAWN {
            if let Ok(guard) = guard(octet) {
                options.octet = octet;
                return Self::launch(options, lock, guard);
            }
        }
        Err(Error::NoOctet)
    }

    fn launch(options: Options, mut lock: Lock, guard: TcpListener) -> Result<Self, Error> {
        let octet = options.octet;
        lock.announce(octet)?;
        let world = open(options)?;
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("lab-{octet}"))
            .spawn(move || run(&world, guard, &ready, stopped))
            .map_err(|source| Error::System { what: "start a thread", source })?;
        let mut lab =
            Self { control: None, octet, stop: Some(stop), thread: Some(thread), lock: Some(lock) };
        let control = started.recv().map_err(|_| Error::System {
            what: "start its servers",
            source: io::Error::other("the thread of the servers ended"),
        })??;
        lab.control = Some(control);
        Ok(lab)
    }

    fn control(&self) -> &Control {
        self.control.as_ref().expect("a lab that was handed out has started")
    }

    /// The second octet of all addresses.
    #[must_use]
    pub fn octet(&self) -> u8 {
        self.octet
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.control().world.faults()
    }

    /// The calls so far, in order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.control().world.calls().list()
    }

    /// What clients had written, and how often, over all runs of this world.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn counts(&self) -> Result<Vec<Count>, Error> {
        Ok(self.control().world.store().counts()?)
    }

    /// The world as it stands.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn status(&self) -> Result<Status, Error> {
        let status = self.control().status()?;
        Ok(Status { owner: owner::running(self.control().world.dir()), ..status })
    }

    /// Cuts the power: whatever is under way stays as it stands.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the servers has been reported by its own thread.
            let _ = thread.join();
        }
        // The store must be closed before somebody else takes the folder.
        drop(self.control.take());
        drop(self.lock.take());
    }
}

/// Takes an octet: nobody else listens on its control address.
fn guard(octet: u8) -> Result<TcpListener, Error> {
    let address = Addresses::new(octet).control();
    let failed = |source| Error::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn open(options: Options) -> Result<World, Error> {
    let Options { dir, octet, speed, seed, faults, tree } = options;
    let password = dir.join(ROOT_PASSWORD);
    if !password.exists() {
        let drawn = format!("{:016x}", rand::random::<u64>());
        write_private(&password, drawn.as_bytes())
            .map_err(|source| Error::System { what: "write root's password", source })?;
    }
    Ok(World::new(Shared {
        pki: Pki::open(&dir)?,
        store: Store::open(&dir.join(WORLD))?,
        dir,
        seed,
        clock: Clock::new(speed),
        faults: Faults::new(faults),
        calls: Calls::default(),
        addresses: Addresses::new(octet),
        git: Repository::new(tree),
        activities: Mutex::default(),
    }))
}

/// Runs all servers until told to stop, or the lab is dropped.
fn run(
    world: &World,
    guard: TcpListener,
    ready: &mpsc::Sender<Result<Control, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => {
            // Whoever waits for the answer is gone only if its thread was killed.
            let _ = ready.send(Err(Error::System { what: "start a runtime", source }));
            return;
        }
    };
    runtime.block_on(async {
        let servers = serve_all(world, guard).await;
        match servers {
            Ok((control, servers)) => {
                let machines = control.machines.clone();
                if ready.send(Ok(control)).is_ok() {
                    // An error means that the lab was dropped, which is the same.
                    let _ = stopped.await;
                }
                world.cut();
                machines.cut();
                drop(servers);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
}

/// Opens all systems and makes them listen.
async fn serve_all(
    world: &World,
    guard: TcpListener,
) -> Result<(Control, Vec<serve::Server>), Error> {
    let kubernetes = Kubernetes::open(world.clone());
    let machines = Machines::open(world.clone(), kubernetes.clone())?;
    let proxmox = Proxmox::open(world.clone(), machines.clone())?;
    let factory = Factory::open(world.clone())?;
    let control = Control { world: world.clone(), proxmox, machines, kubernetes };
    control.proxmox.power_up();
    let at = world.address();
    let failed = |address: std::net::SocketAddr| {
        move |source| Error::Listen { address: address.to_string(), source }
    };
    let guard = tokio::net::TcpListener::from_std(guard).map_err(failed(at.control()))?;
    let servers = vec![
        control.proxmox.serve().await.map_err(failed(at.proxmox()))?,
        factory.serve().await.map_err(failed(at.factory()))?,
        git::serve(world).await.map_err(failed(at.git()))?,
        serve::serve_plain(guard, control.clone().router()),
    ];
    Ok((control, servers))
}

/// The world in a folder: as its process says, or as it stands on disk while none runs it.
///
/// # Errors
///
/// If its process does not answer, or the folder cannot be read.
pub fn status(dir: &Path) -> Result<Status, Error> {
    if let Some(owner) = owner::running(dir) {
        return ask(owner);
    }
    let path = dir.join(WORLD);
    if !path.exists() {
        return Ok(Status::default());
    }
    let _lock = match Lock::take(dir) {
        Ok(lock) => lock,
        Err(OwnerError::Running { owner: Some(owner), .. }) => return ask(owner),
        Err(error) => return Err(error.into()),
    };
    let store = Store::open(&path)?;
    Ok(Status { vms: Proxmox::stored(&store)?, counts: store.counts()?, ..Status::default() })
}

fn ask(owner: Owner) -> Result<Status, Error> {
    let status = control::ask(Addresses::new(owner.octet).control());
    let status =
        status.map_err(|source| Error::System { what: "be asked for its status", source })?;
    Ok(Status { owner: Some(owner), ..status })
}

/// Removes the world in a folder, its authority and its password.
///
/// # Errors
///
/// If a process runs it, or the folder cannot be removed.
pub fn reset(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    let _lock = Lock::take(dir)?;
    fs::remove_dir_all(dir).map_err(|source| Error::System { what: "remove its folder", source })
}
