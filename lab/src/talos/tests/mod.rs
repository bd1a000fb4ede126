//! The machines as clients see them: real sockets, TLS and gRPC.

mod bundle;
mod client;
mod cluster;
mod maintenance;
mod normal;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::Mutex,
    time::Duration,
};

use super::{Hardware, Machines, machines::MachineStatus};
use crate::{
    Faults,
    address::Addresses,
    clock::Clock,
    git::Repository,
    image::Image,
    kubernetes::Kubernetes,
    pki::Pki,
    store::Store,
    world::{Calls, Shared, World},
};
use bundle::Bundle;
use client::Connection;

const DEADLINE: Duration = Duration::from_secs(20);

/// A world with machines only.
struct Room {
    world: World,
    machines: Machines,
    bundle: Bundle,
    folder: tempfile::TempDir,
    #[allow(dead_code, reason = "keeps other worlds off the octet")]
    guard: TcpListener,
}

impl Room {
    fn new() -> Self {
        let (octet, guard) = (3..=250)
            .find_map(|octet| {
                Some((octet, TcpListener::bind(Addresses::new(octet).control()).ok()?))
            })
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bundle = Bundle::new(octet);
        let world = world(octet, &folder);
        let machines = Machines::open(world.clone(), Kubernetes::open(world.clone())).unwrap();
        Self { world, machines, bundle, folder, guard }
    }

    /// Cuts the power of everything and opens the world again.
    async fn power_cut(self) -> Self {
        let Self { world: before, machines, bundle, folder, guard } = self;
        before.cut();
        machines.cut();
        drop((before, machines));
        let deadline = tokio::time::Instant::now() + DEADLINE;
        // The store's file is locked until the last task of the old world is gone.
        let store = loop {
            tokio::task::yield_now().await;
            match Store::open(&folder.path().join("world.redb")) {
                Ok(store) => break store,
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
        };
        let world = with_store(bundle.octet, &folder, store);
        let machines = Machines::open(world.clone(), Kubernetes::open(world.clone())).unwrap();
        Self { world, machines, bundle, folder, guard }
    }

    fn at(&self, third: u8, fourth: u8) -> SocketAddr {
        SocketAddr::new(self.world.address().at(third, fourth), 50000)
    }

    fn hardware(&self, name: &str, third: u8, fourth: u8) -> Hardware {
        let meta = format!(
            "addresses:\n  - {{address: {}/16, linkName: eth0, family: inet4, layer: platform}}\nhostnames: [{{hostname: {name}}}]\n",
            self.world.address().at(third, fourth)
        );
        let image = Image {
            version: "v1.13.4".to_owned(),
            schematic: "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
                .to_owned(),
            meta: BTreeMap::from([(10, meta.into_bytes())]),
        };
        Hardware {
            vmid: u32::from(third) * 1000 + u32::from(fourth),
            name: name.to_owned(),
            uuid: format!("00000000-0000-0000-0000-0000000{third:02}{fourth:03}"),
            mac: "BC:24:11:00:00:01".to_owned(),
            cores: 4,
            memory_mib: 8192,
            disk_size: 40 << 30,
            disk: Some(image),
        }
    }

    fn controller(&self, number: u8) -> Hardware {
        self.hardware(&format!("cp{number}"), 1, number)
    }

    async fn mutual(&self, at: SocketAddr, role: &str) -> Connection {
        let authority = super::credentials::certificate(&self.bundle.os.certificate).unwrap();
        eventually(async || {
            Connection::mutual(at, authority.clone(), self.bundle.client(role)).await.ok()
        })
        .await
    }

    /// Switches a machine on and gives it a configuration.
    async fn configured(&self, vm: Hardware, config: &str) -> Connection {
        let third = u8::try_from(vm.vmid / 1000).unwrap();
        let at = self.at(third, u8::try_from(vm.vmid % 1000).unwrap());
        self.machines.power_on(vm);
        let maintenance = eventually(async || Connection::insecure(at).await.ok()).await;
        maintenance.machine().apply_configuration(apply(config)).await.unwrap();
        self.mutual(at, "os:admin").await
    }

    fn status(&self, vmid: u32) -> MachineStatus {
        self.machines.status().into_iter().find(|one| one.vmid == vmid).unwrap()
    }

    fn count(&self, object: &str, verb: &str) -> u64 {
        let counts = self.world.store().counts().unwrap();
        let count = counts.iter().find(|one| one.object == object && one.verb == verb);
        count.map_or(0, |one| one.times)
    }
}

fn world(octet: u8, folder: &tempfile::TempDir) -> World {
    with_store(octet, folder, Store::open(&folder.path().join("world.redb")).unwrap())
}

fn with_store(octet: u8, folder: &tempfile::TempDir, store: Store) -> World {
    World::new(Shared {
        dir: folder.path().to_owned(),
        seed: 1,
        clock: Clock::new(1000.0),
        store,
        faults: Faults::default(),
        calls: Calls::default(),
        addresses: Addresses::new(octet),
        pki: Pki::open(folder.path()).unwrap(),
        git: Repository::new(BTreeMap::new()),
        activities: Mutex::default(),
    })
}

/// Waits until something is there.
async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A request that applies a configuration as talosctl does.
fn apply(config: &str) -> super::wire::machine::ApplyConfigurationRequest {
    super::wire::machine::ApplyConfigurationRequest {
        data: config.as_bytes().to_vec(),
        mode: super::wire::machine::apply_configuration_request::Mode::Auto.into(),
        ..Default::default()
    }
}
