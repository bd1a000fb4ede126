//! Making the VM: each step reads first, asks, and awaits the task that it is answered with.

use std::time::Duration;

use flow_engine::Cx;

use super::super::client::Client;
use super::super::config::Config;
use super::super::lenient::text;
use super::Error;
use super::find::{ASKED, Sight, find, foreign};
use super::wanted::{Step, Wanted, tell};

/// How long Proxmox may take to write a VM without disks.
const CREATE: Duration = Duration::from_mins(2);
/// How long Proxmox may take to import or allocate a disk.
const IMPORT: Duration = Duration::from_mins(30);
/// More steps than there are: a step that does not show after its task is left to the next probe.
const STEPS: usize = 8;

/// Makes what is missing, or changes what differs.
pub(super) async fn make(cx: &Cx, client: &Client, wanted: &Wanted<'_>) -> Result<(), Error> {
    for _ in 0..STEPS {
        if cx.stop_requested() {
            return Err(Error::Stopped { vmid: wanted.node.vmid });
        }
        match find(cx, client, wanted).await? {
            Sight::Nothing => create(cx, client, wanted).await?,
            // Never applied over; the engine polls the probe until it is over.
            Sight::Busy(_) => return Ok(()),
            Sight::Reserved { host, asked } => release(wanted, &host, asked).await?,
            Sight::Ours { host, config } => {
                let place = Place { host: &host, config: &config };
                let Some(step) = wanted.missing(&config) else {
                    return change(client, wanted, &place).await;
                };
                take(client, wanted, &place, step).await?;
            }
        }
    }
    Ok(())
}

/// A VM as it was last seen.
struct Place<'a> {
    host: &'a str,
    config: &'a Config,
}

async fn create(cx: &Cx, client: &Client, wanted: &Wanted<'_>) -> Result<(), Error> {
    let (host, vmid) = (&wanted.node.host, wanted.node.vmid.to_string());
    // Disks that an earlier VM of this id left behind are not ours to clean up later.
    let kept = volumes(client, wanted, host).await?.join(",");
    cx.record(ASKED, &vmid).await?;
    match client.post(&["nodes", host, "qemu"], &wanted.create(&kept)).await {
        Ok(upid) => Ok(client.finish(&upid, CREATE).await?),
        // Somebody was faster: whose it is shows the next look.
        Err(error) if error.says("already exists") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what a create of ours left that was cut short before it wrote anything.
///
/// It holds a lock that only root may pass over, with a ticket; there are no disks yet. The record
/// of our create went with its intent, after the probe had read it; so where it is not `asked` for
/// any more, root must not see that somebody else asked.
async fn release(wanted: &Wanted<'_>, host: &str, asked: bool) -> Result<(), Error> {
    let vmid = wanted.node.vmid;
    let Some(admin) = wanted.root else {
        return Err(Error::Reserved { vmid, host: host.to_owned() });
    };
    let root = admin.open(&wanted.door.api).await?;
    let creators = root.creators(host, vmid).await?;
    if !asked && creators.iter().any(|creator| creator != &wanted.door.token_id) {
        return Err(foreign(vmid, host, &Config::default()));
    }
    let query = [
        ("skiplock", "1".to_owned()),
        ("purge", "1".to_owned()),
        ("destroy-unreferenced-disks", "0".to_owned()),
    ];
    let upid = root.delete(&["nodes", host, "qemu", &vmid.to_string()], &query).await?;
    Ok(root.finish(&upid, CREATE).await?)
}

async fn take(
    client: &Client,
    wanted: &Wanted<'_>,
    place: &Place<'_>,
    step: Step,
) -> Result<(), Error> {
    let kept = place.config.mark().get("kept").cloned().unwrap_or_default();
    let vmid = wanted.node.vmid.to_string();
    let vm = ["nodes", place.host, "qemu", &vmid];
    let config = [vm.as_slice(), &["config"]].concat();
    let mut form = wanted.form(step, &kept);
    form.extend(place.config.digest().map(|digest| ("digest", digest)));
    let answer = match step {
        Step::Firmware | Step::Disk => {
            clean(client, wanted, place, &kept).await?;
            client.post(&config, &form).await?
        }
        Step::Grow => client.put(&[vm.as_slice(), &["resize"]].concat(), &form).await?,
        Step::Boot | Step::Finish => client.put(&config, &form).await?,
    };
    Ok(client.finish(&answer, IMPORT).await?)
}

/// Removes disks of this VM that an interrupted step of ours allocated and nothing refers to.
///
/// They are provably ours: the VM is, nothing works on it, and the mark names the disks that were
/// there before it.
async fn clean(
    client: &Client,
    wanted: &Wanted<'_>,
    place: &Place<'_>,
    kept: &str,
) -> Result<(), Error> {
    let used = place.config.volumes();
    for volume in volumes(client, wanted, place.host).await? {
        if used.contains(&volume) || kept.split(',').any(|kept| kept == volume) {
            continue;
        }
        let path = ["nodes", place.host, "storage", wanted.store, "content", &volume];
        let upid = client.delete(&path, &[]).await?;
        client.finish(&upid, CREATE).await?;
    }
    Ok(())
}

/// The volumes of our id on the storage of our disks.
async fn volumes(client: &Client, wanted: &Wanted<'_>, host: &str) -> Result<Vec<String>, Error> {
    let query = [("content", "images".to_owned()), ("vmid", wanted.node.vmid.to_string())];
    let path = ["nodes", host, "storage", wanted.store, "content"];
    let rows = client.get(&path, &query).await?;
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(rows.iter().filter_map(|row| row.get("volid").and_then(text)).collect())
}

/// Puts right what differs in a VM that is made; what needs a restart waits for one.
async fn change(client: &Client, wanted: &Wanted<'_>, place: &Place<'_>) -> Result<(), Error> {
    let differences = wanted.differences(place.config);
    let mut form = Vec::new();
    for difference in &differences {
        let Some((key, value)) = &difference.repair else {
            return Err(Error::Fixed { vmid: wanted.node.vmid, diff: tell(&differences) });
        };
        match *key {
            "size" => take(client, wanted, place, Step::Grow).await?,
            // The digest is that of before the first change, so all others go in one call.
            key => form.push((key, value.clone())),
        }
    }
    if form.is_empty() {
        return Ok(());
    }
    form.push(("onboot", "1".to_owned()));
    let vmid = wanted.node.vmid.to_string();
    client.put(&["nodes", place.host, "qemu", &vmid, "config"], &form).await?;
    Ok(())
}
