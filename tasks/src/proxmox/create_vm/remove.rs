//! Finding the VM again by its handle, and removing it.

use std::time::Duration;

use flow_engine::Presence;

use super::super::client::Client;
use super::super::config::Config;
use super::super::lenient::text;
use super::{Error, Handle};

/// How long a machine gets to shut itself down, in seconds.
const SHUTDOWN: u64 = 120;
/// How long Proxmox may take to remove a VM and its disks.
const REMOVE: Duration = Duration::from_mins(10);

impl Handle {
    fn marks(&self, config: &Config) -> bool {
        let line = config.mark();
        config.uuid().is_some_and(|uuid| uuid.to_string() == self.uuid)
            && line.get("cluster") == Some(&self.cluster)
            && line.get("uuid") == Some(&self.uuid)
    }

    async fn find(&self, client: &Client) -> Result<Option<(String, Config)>, Error> {
        if let Some(config) = client.config(&self.host, self.vmid).await? {
            return Ok(Some((self.host.clone(), config)));
        }
        let query = [("type", "vm".to_owned())];
        let resources = client.get(&["cluster", "resources"], &query).await?;
        let rows = resources.as_array().map(Vec::as_slice).unwrap_or_default();
        let vmid = self.vmid.to_string();
        let moved = rows
            .iter()
            .find(|row| row.get("vmid").and_then(text).as_ref() == Some(&vmid))
            .and_then(|row| row.get("node").and_then(text))
            .filter(|host| *host != self.host);
        let Some(host) = moved else { return Ok(None) };
        Ok(client.config(&host, self.vmid).await?.map(|config| (host, config)))
    }
}

pub(super) async fn exists(client: &Client, handle: &Handle) -> Result<Presence, Error> {
    Ok(match handle.find(client).await? {
        None => Presence::Gone,
        Some((_, config)) if handle.marks(&config) => Presence::Ours,
        Some(_) => Presence::Foreign,
    })
}

/// Shuts the machine down, or switches it off, and removes it with the disks that it refers to.
pub(super) async fn destroy(client: &Client, handle: &Handle) -> Result<(), Error> {
    let Some((host, config)) = handle.find(client).await? else { return Ok(()) };
    if !handle.marks(&config) {
        let name = config.get("name").unwrap_or("no name").to_owned();
        return Err(Error::Foreign { vmid: handle.vmid, host, name });
    }
    let vmid = handle.vmid.to_string();
    let vm = ["nodes", &host, "qemu", &vmid];
    let status = client.get(&[vm.as_slice(), &["status", "current"]].concat(), &[]).await?;
    if status.get("status").and_then(text).as_deref() == Some("running") {
        let form = [("timeout", SHUTDOWN.to_string()), ("forceStop", "1".to_owned())];
        let shutdown = [vm.as_slice(), &["status", "shutdown"]].concat();
        let upid = client.post(&shutdown, &form).await?;
        client.finish(&upid, REMOVE).await?;
    }
    // Other disks of this id may be somebody's: they are never removed along.
    let query = [("purge", "1".to_owned()), ("destroy-unreferenced-disks", "0".to_owned())];
    let upid = client.delete(&vm, &query).await?;
    Ok(client.finish(&upid, REMOVE).await?)
}
