//! The host itself: version, state, resources, free numbers.

use serde_json::{Value, json};

use super::{
    HOST, Proxmox, RELEASE, VERSION,
    params::Param,
    reply::{Answer, Refused},
    route::{Request, Route},
};

/// Memory of the host in bytes.
pub(super) const MEMORY: u64 = 125 << 30;
const CORES: u32 = 32;

/// The endpoints.
pub(super) const ROUTES: &[Route] = &[
    Route::get("/version", &[], version),
    Route::get("/nodes", &[], nodes),
    Route::get("/nodes/{node}/status", &[], node_status).checked(may_audit),
    Route::get("/nodes/{node}/version", &[], version),
    Route::get("/cluster/status", &[], status).checked(may_audit_all),
    Route::get(
        "/cluster/resources",
        &[Param::one_of("type", &["vm", "storage", "node", "sdn"])],
        resources,
    ),
    Route::get("/cluster/nextid", &[Param::integer("vmid", 100, 999_999_999)], next_id),
    Route::get("/nodes/{node}/capabilities/qemu/machines", &[], machines),
    Route::get("/nodes/{node}/capabilities/qemu/cpu", &[], cpus),
];

fn may_audit(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    host.access().need(&request.caller, &format!("/nodes/{HOST}"), "Sys.Audit")
}

fn may_audit_all(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    host.access().need(&request.caller, "/", "Sys.Audit")
}

fn version(_: &Proxmox, _: &Request) -> Answer {
    Ok(json!({ "version": VERSION, "release": RELEASE, "repoid": "b1c3d5e7f9a0" }).into())
}

fn nodes(host: &Proxmox, request: &Request) -> Answer {
    let mut row = json!({
        "node": HOST,
        "id": format!("node/{HOST}"),
        "type": "node",
        "status": "online",
        "ssl_fingerprint": host.fingerprint(),
    });
    let path = format!("/nodes/{HOST}");
    if host.access().has_any(&request.caller, &path, &["Sys.Audit"]) {
        row["maxcpu"] = json!(CORES);
        row["maxmem"] = json!(MEMORY);
        row["mem"] = json!(host.memory_in_use());
        row["cpu"] = json!(0.02);
        row["uptime"] = json!(host.uptime());
        row["level"] = json!("");
    }
    Ok(json!([row]).into())
}

fn node_status(host: &Proxmox, _: &Request) -> Answer {
    let used = host.memory_in_use();
    Ok(json!({
        "pveversion": format!("pve-manager/{VERSION}/b1c3d5e7f9a0"),
        "kversion": "Linux 6.17.2-1-pve #1 SMP PREEMPT_DYNAMIC",
        "current-kernel": { "machine": "x86_64", "release": "6.17.2-1-pve", "sysname": "Linux" },
        "boot-info": { "mode": "efi", "secureboot": 0 },
        "cpuinfo": { "cores": CORES / 2, "cpus": CORES, "sockets": 1,
                     "model": "AMD EPYC 7302P 16-Core Processor", "flags": "avx2 sse4_2 ssse3 popcnt" },
        "memory": { "total": MEMORY, "used": used, "free": MEMORY - used, "available": MEMORY - used },
        "rootfs": { "total": 94_u64 << 30, "used": 8_u64 << 30, "avail": 86_u64 << 30, "free": 86_u64 << 30 },
        "swap": { "total": 0, "used": 0, "free": 0 },
        "loadavg": ["0.10", "0.12", "0.09"],
        "cpu": 0.02,
        "uptime": host.uptime(),
    })
    .into())
}

fn status(host: &Proxmox, _: &Request) -> Answer {
    Ok(json!([{
        "type": "node",
        "id": format!("node/{HOST}"),
        "name": HOST,
        "nodeid": 0,
        "ip": host.world().address().proxmox().ip(),
        "local": 1,
        "online": 1,
        "level": "",
    }])
    .into())
}

fn resources(host: &Proxmox, request: &Request) -> Answer {
    let kind = request.params.get("type");
    let wants = |name: &str| kind.is_none_or(|kind| kind == name);
    let mut rows: Vec<Value> = Vec::new();
    if wants("vm") {
        rows.extend(host.vm_resources(&request.caller)?);
    }
    if wants("node") {
        rows.push(json!({ "id": format!("node/{HOST}"), "type": "node", "node": HOST,
                          "status": "online", "maxcpu": CORES, "maxmem": MEMORY }));
    }
    if wants("storage") {
        for store in host.visible_stores(&request.caller)? {
            rows.push(json!({
                "id": format!("storage/{HOST}/{}", store.name),
                "type": "storage",
                "storage": store.name,
                "node": HOST,
                "status": "available",
                "plugintype": store.plugin.name(),
                "content": store.content.join(","),
                "shared": 0,
            }));
        }
    }
    if wants("sdn") {
        let path = "/sdn/zones/localnetwork";
        if host.access().has_any(&request.caller, path, &["SDN.Audit", "SDN.Use"]) {
            rows.push(
                json!({ "id": format!("sdn/{HOST}/localnetwork"), "type": "sdn", "node": HOST,
                              "sdn": "localnetwork", "status": "ok" }),
            );
        }
    }
    Ok(json!(rows).into())
}

fn next_id(host: &Proxmox, request: &Request) -> Answer {
    let taken = host.vmids();
    let free = match request.params.integer("vmid") {
        Some(wanted) if taken.iter().any(|vmid| i64::from(*vmid) == wanted) => {
            return Err(Refused::parameter("vmid", format!("VM {wanted} already exists")));
        }
        Some(wanted) => wanted.to_string(),
        None => {
            let free = (100..1_000_000).find(|vmid| !taken.contains(vmid));
            free.ok_or_else(|| {
                Refused::died("unable to get any free VMID in range [100, 1000000]")
            })?
            .to_string()
        }
    };
    Ok(json!(free).into())
}

fn machines(_: &Proxmox, _: &Request) -> Answer {
    let row = |kind: &str, id: &str| json!({ "id": id, "type": kind, "version": "10.1" });
    Ok(json!([row("i440fx", "pc-i440fx-10.1"), row("q35", "pc-q35-10.1")]).into())
}

fn cpus(_: &Proxmox, _: &Request) -> Answer {
    let names =
        ["host", "kvm64", "max", "qemu64", "x86-64-v2", "x86-64-v2-AES", "x86-64-v3", "x86-64-v4"];
    let rows: Vec<_> =
        names.map(|name| json!({ "name": name, "custom": 0, "vendor": "default" })).into();
    Ok(json!(rows).into())
}
