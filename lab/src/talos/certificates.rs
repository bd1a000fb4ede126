//! Which certificate a machine shows, from connection to connection.

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use time::{Duration, OffsetDateTime};

use super::{
    config::Authority,
    credentials,
    live::Part,
    rack::{Fleet, Rack},
    tls,
};
use crate::{serve::Tls, world::locked};

/// After how long a certificate is made anew.
const RENEWAL: Duration = Duration::hours(12);

/// The last made configuration with the names in its certificate.
struct Made {
    names: Vec<String>,
    at: OffsetDateTime,
    config: Arc<ServerConfig>,
}

/// Remembers a configuration until its names change or it grows old.
struct Cache(Mutex<Option<Made>>);

impl Cache {
    fn get(
        &self,
        names: Vec<String>,
        make: impl FnOnce(&[String]) -> Option<Arc<ServerConfig>>,
    ) -> Option<Arc<ServerConfig>> {
        let mut last = locked(&self.0);
        let now = OffsetDateTime::now_utc();
        if let Some(known) = last.as_ref()
            && known.names == names
            && now - known.at < RENEWAL
        {
            return Some(Arc::clone(&known.config));
        }
        let config = make(&names)?;
        *last = Some(Made { names, at: now, config: Arc::clone(&config) });
        Some(config)
    }

    fn last(&self) -> Option<Arc<ServerConfig>> {
        locked(&self.0).as_ref().map(|made| Arc::clone(&made.config))
    }
}

/// The names of a machine in its certificates.
fn names(rack: &Rack, vmid: u32) -> Vec<String> {
    rack.read(|fleet| {
        let Some(live) = fleet.live(vmid) else { return Vec::new() };
        let configured = live.config.as_ref().map(|config| config.texts_at("machine.certSANs"));
        let mut names: Vec<String> = vec![live.hostname.clone(), "127.0.0.1".to_owned()];
        names.extend(live.addresses().iter().map(ToString::to_string));
        names.extend(configured.unwrap_or_default());
        let mut unique = Vec::new();
        for name in names {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        unique
    })
}

/// A certificate for maintenance mode: nobody knows who signed it.
pub(super) fn maintenance(rack: &Arc<Rack>, vmid: u32) -> Tls {
    let rack = Arc::clone(rack);
    let cache = Cache(Mutex::new(None));
    Arc::new(move || {
        let made = cache.get(names(&rack, vmid), |names| {
            tls::maintenance(credentials::maintenance(names).ok()?).ok()
        });
        made.or_else(|| cache.last()).expect("a certificate for addresses can be made")
    })
}

/// A certificate that the key of a controller signs; none if that cannot be done.
pub(super) fn normal(rack: &Arc<Rack>, vmid: u32, signer: u32) -> Option<Tls> {
    let authority = rack.read(|fleet| fleet.config(signer)?.authority("machine.ca"))?;
    let rack = Arc::clone(rack);
    let cache = Cache(Mutex::new(None));
    let sign = move |names: &[String]| mutual(&authority, names);
    cache.get(names(&rack, vmid), &sign)?;
    Some(Arc::new(move || {
        let made = cache.get(names(&rack, vmid), &sign);
        made.or_else(|| cache.last()).expect("a first certificate was made")
    }))
}

fn mutual(authority: &Authority, names: &[String]) -> Option<Arc<ServerConfig>> {
    let identity = credentials::server(authority, names)?;
    let trusted = credentials::certificate(&authority.certificate)?;
    tls::mutual(identity, &[trusted]).ok()
}

/// The controller that signs a worker's certificate: it runs, and both know the same authority and
/// token.
pub(super) fn signer_for(fleet: &Fleet, vmid: u32) -> Option<u32> {
    let own = fleet.config(vmid)?;
    let authority = own.authority("machine.ca")?;
    fleet.machines.iter().find_map(|(signer, machine)| {
        let live = &machine.power.as_ref()?.live;
        let config = live.config.as_ref().filter(|_| live.has(Part::Trustd))?;
        let same = config.authority("machine.ca")?.certificate == authority.certificate
            && config.text_at("machine.token") == own.text_at("machine.token");
        same.then_some(*signer)
    })
}
