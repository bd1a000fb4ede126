//! Where the planned VM is, if it is anywhere.

use flow_engine::Cx;
use serde_json::Value;

use super::super::client::{ApiError, Client, if_there};
use super::super::config::Config;
use super::super::lenient::{list, number, text};
use super::Error;
use super::wanted::Wanted;

/// The record that a create of this id was asked for.
pub(super) const ASKED: &str = "asked-for-vmid";

/// What there is of the planned VM.
pub(super) enum Sight {
    /// Nothing, on any host.
    Nothing,
    /// Somebody works on it.
    Busy(String),
    /// A create was cut short when the id was reserved: no disk, no name, no mark.
    Reserved {
        /// The host that it is on.
        host: String,
        /// Whether it is known to be a create of ours.
        asked: bool,
    },
    /// It carries our mark.
    Ours {
        /// The host that it is on.
        host: String,
        /// Its configuration.
        config: Config,
    },
}

/// Looks on the planned host, then on all others.
pub(super) async fn find(cx: &Cx, client: &Client, wanted: &Wanted<'_>) -> Result<Sight, Error> {
    let (host, vmid) = (wanted.node.host.as_str(), wanted.node.vmid);
    let seen = look(client, host, vmid).await?;
    if let Some(config) = seen.config {
        return judge(cx, client, wanted, (host, seen.running, config)).await;
    }
    if let Some(other) = elsewhere(client, wanted).await? {
        let seen = look(client, &other, vmid).await?;
        if let Some(config) = seen.config {
            return judge(cx, client, wanted, (&other, seen.running, config)).await;
        }
    }
    Ok(seen.running.map_or(Sight::Nothing, |what| busy(vmid, &what)))
}

struct Seen {
    running: Option<String>,
    config: Option<Config>,
}

/// The tasks first: without one, the configuration read afterwards is not on its way any more.
async fn look(client: &Client, host: &str, vmid: u32) -> Result<Seen, ApiError> {
    let running = client.running(host, vmid).await?.into_iter().next();
    let config = client.config(host, vmid).await?;
    Ok(Seen { running, config })
}

async fn judge(
    cx: &Cx,
    client: &Client,
    wanted: &Wanted<'_>,
    (host, running, config): (&str, Option<String>, Config),
) -> Result<Sight, Error> {
    let vmid = wanted.node.vmid;
    let ours = wanted.is_ours(&config);
    let unfinished = config.is_reserved_only() || (ours && wanted.missing(&config).is_some());
    if let Some(what) = running.filter(|_| unfinished) {
        return Ok(busy(vmid, &what));
    }
    if config.is_reserved_only() {
        let asked = cx.recorded(ASKED).is_some() || !client.creators(host, vmid).await?.is_empty();
        return Ok(Sight::Reserved { host: host.to_owned(), asked });
    }
    if !ours {
        return Err(foreign(vmid, host, &config));
    }
    // A backup of a VM that is as planned is no concern of ours.
    let settled = wanted.missing(&config).is_none() && wanted.differences(&config).is_empty();
    if let Some(lock) = config.lock()
        && !settled
    {
        return Ok(Sight::Busy(format!("VM {vmid} is locked ({lock})")));
    }
    Ok(Sight::Ours { host: host.to_owned(), config })
}

fn busy(vmid: u32, what: &str) -> Sight {
    Sight::Busy(format!("{what} of VM {vmid} runs"))
}

/// A VM that is not ours.
pub(super) fn foreign(vmid: u32, host: &str, config: &Config) -> Error {
    let name = config.get("name").unwrap_or("no name").to_owned();
    Error::Foreign { vmid, host: host.to_owned(), name }
}

/// Another host that has a VM of our id. A VM of another id that is the planned one is an error.
async fn elsewhere(client: &Client, wanted: &Wanted<'_>) -> Result<Option<String>, Error> {
    let query = [("type", "vm".to_owned())];
    let resources = client.get(&["cluster", "resources"], &query).await?;
    for row in resources.as_array().map(Vec::as_slice).unwrap_or_default() {
        let Some((host, vmid)) = place(row) else { continue };
        if vmid == wanted.node.vmid && row.get("type").and_then(text).as_deref() == Some("lxc") {
            let name = row.get("name").and_then(text).unwrap_or_else(|| "a container".to_owned());
            return Err(Error::Foreign { vmid, host, name });
        }
        if vmid == wanted.node.vmid {
            // The index lags: on the planned host there is none any more.
            if host != wanted.node.host {
                return Ok(Some(host));
            }
        } else if may_be_ours(row, wanted)
            && let Some(config) = client.config(&host, vmid).await?
            && wanted.is_ours(&config)
        {
            return Err(Error::Elsewhere { node: wanted.node.name.clone(), found: vmid, host });
        }
    }
    Ok(None)
}

fn place(row: &Value) -> Option<(String, u32)> {
    let vmid = row.get("vmid").and_then(number)?;
    Some((row.get("node").and_then(text)?, vmid.try_into().ok()?))
}

/// Whether the index makes a VM a candidate: our tag, and our name if a name is known already.
fn may_be_ours(row: &Value, wanted: &Wanted<'_>) -> bool {
    let tags = row.get("tags").and_then(text).unwrap_or_default();
    let name = row.get("name").and_then(text);
    list(&tags).any(|tag| tag == wanted.mark.tag())
        && name.is_none_or(|name| name == wanted.node.name)
}

impl Client {
    /// The configuration of a VM, pending changes merged in; `None` if there is no such VM.
    pub(in super::super) async fn config(
        &self,
        host: &str,
        vmid: u32,
    ) -> Result<Option<Config>, ApiError> {
        let path = ["nodes", host, "qemu", &vmid.to_string(), "config"];
        let answer = if_there(self.get(&path, &[]).await)?;
        // An answer in another shape has no mark, and so is nobody's to touch.
        Ok(answer.map(|answer| Config::read(&answer).unwrap_or_default()))
    }
}
