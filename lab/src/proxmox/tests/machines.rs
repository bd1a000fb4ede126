use super::{images::download, *};

const VMS: &str = "/nodes/lab-pve/qemu";
const UUID: &str = "2f7e41fc-25bc-4e95-8a24-3f27a0b0d4a0";

/// A VM as flow makes one: marked, without disks.
async fn create(host: &Host, vmid: &str) -> String {
    let smbios = format!("uuid={UUID}");
    let form = [
        ("vmid", vmid),
        ("name", "controlplane0"),
        ("tags", "flow-test;Talos"),
        ("description", "flow1 cluster=test\n"),
        ("smbios1", &smbios),
        ("cpu", "x86-64-v2-AES"),
        ("cores", "4"),
        ("memory", "8192"),
        ("balloon", "0"),
        ("bios", "ovmf"),
        ("machine", "q35"),
        ("ostype", "l26"),
        ("scsihw", "virtio-scsi-single"),
        ("net0", "virtio=BC:24:11:00:00:01,bridge=vmbr4,tag=4"),
        ("agent", "enabled=1"),
        ("onboot", "0"),
    ];
    host.task(Method::POST, VMS, &form).await
}

#[tokio::test]
async fn a_vm_is_made_in_two_phases_and_boots_its_image() {
    let host = Host::new().await;
    assert_eq!(create(&host, "1500").await, "OK");
    let config = host.get(&format!("{VMS}/1500/config")).await;
    assert_eq!(config["tags"], "flow-test;talos");
    assert_eq!(config["description"], "flow1 cluster=test");
    assert_eq!(config["memory"], "8192");
    assert_eq!(config["agent"], "1");
    assert_eq!(config["boot"], "order=net0");

    download(&host, "talos.qcow2", "addresses: []").await;
    let path = format!("{VMS}/1500/config");
    let efi = [("efidisk0", "local-zfs:1,efitype=4m,pre-enrolled-keys=0")];
    assert_eq!(host.task(Method::POST, &path, &efi).await, "OK");
    let disk =
        [("scsi0", "local-zfs:0,import-from=local:import/talos.qcow2,discard=on,iothread=1,ssd=1")];
    assert_eq!(host.task(Method::POST, &path, &disk).await, "OK");
    let config = host.get(&path).await;
    assert_eq!(
        config["efidisk0"],
        "local-zfs:vm-1500-disk-0,efitype=4m,pre-enrolled-keys=0,size=1M"
    );
    assert_eq!(config["scsi0"], "local-zfs:vm-1500-disk-1,discard=on,iothread=1,size=6M,ssd=1");
    let resize = [("disk", "scsi0"), ("size", "40G")];
    assert_eq!(host.task(Method::PUT, &format!("{VMS}/1500/resize"), &resize).await, "OK");
    let smaller = [("disk", "scsi0"), ("size", "4G")];
    assert_eq!(
        host.task(Method::PUT, &format!("{VMS}/1500/resize"), &smaller).await,
        "shrinking disks is not supported"
    );
    host.call(Method::PUT, &path, &[("boot", "order=scsi0"), ("onboot", "1")]).await;
    assert_eq!(
        host.get(&path).await["scsi0"],
        "local-zfs:vm-1500-disk-1,discard=on,iothread=1,size=40G,ssd=1"
    );

    assert_eq!(host.task(Method::POST, &format!("{VMS}/1500/status/start"), &[]).await, "OK");
    let status = host.get(&format!("{VMS}/1500/status/current")).await;
    assert_eq!((&status["status"], &status["maxdisk"]), (&json!("running"), &json!(40_u64 << 30)));
    assert_eq!(
        host.task(Method::POST, &format!("{VMS}/1500/status/start"), &[]).await,
        "VM 1500 already running"
    );
    for (verb, times) in [("create", 1), ("config", 3), ("import", 1), ("resize", 1), ("start", 1)]
    {
        assert_eq!(host.times("vm/1500", verb), times, "{verb}");
    }
}

#[tokio::test]
async fn missing_and_taken_are_told_apart() {
    let host = Host::new().await;
    let missing = died("Configuration file 'nodes/lab-pve/qemu-server/100.conf' does not exist");
    assert_eq!(host.refused(Method::GET, &format!("{VMS}/100/config"), &[]).await, missing);
    assert_eq!(host.refused(Method::DELETE, &format!("{VMS}/100"), &[]).await, missing);
    create(&host, "100").await;
    let taken = host.refused(Method::POST, VMS, &[("vmid", "100")]).await;
    assert_eq!(taken, died("unable to create VM 100 - VM 100 already exists on node 'lab-pve'"));
    let next = host.refused(Method::GET, "/cluster/nextid?vmid=100", &[]).await;
    assert_eq!(next.body["errors"]["vmid"], "VM 100 already exists\n");
    assert_eq!(host.get("/cluster/nextid").await, "101");
    let resources = host.get("/cluster/resources?type=vm").await;
    assert_eq!(
        (&resources[0]["id"], &resources[0]["tags"]),
        (&json!("qemu/100"), &json!("flow-test;talos"))
    );
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let host = Host::new().await;
    let form = [("vmid", "99"), ("onboot", "true"), ("colour", "red"), ("bios", "award")];
    let seen = host.refused(Method::POST, VMS, &form).await;
    assert_eq!(seen.status, 400);
    assert_eq!(
        seen.body["errors"],
        json!({
            "vmid": "value must have a minimum value of 100\n",
            "onboot": "type check ('boolean') failed - got 'true'\n",
            "colour": "property is not defined in schema and the schema does not allow additional properties\n",
            "bios": "value 'award' does not have a value in the enumeration 'seabios, ovmf'\n",
        })
    );
    let disk = [("vmid", "100"), ("scsi0", "local-zfs:5,import-from=local:import/a.qcow2")];
    let seen = host.refused(Method::POST, VMS, &disk).await;
    assert!(
        seen.body["errors"]["scsi0"]
            .as_str()
            .unwrap()
            .starts_with("'import-from' requires special syntax")
    );
    let iso = [("vmid", "100"), ("scsi0", "local-zfs:0,import-from=local:iso/a.iso")];
    let seen = host.refused(Method::POST, VMS, &iso).await;
    assert!(seen.body["errors"]["scsi0"].as_str().unwrap().contains("wrong type 'iso'"));
}

#[tokio::test]
async fn a_digest_tells_a_changed_file() {
    let host = Host::new().await;
    create(&host, "100").await;
    let path = format!("{VMS}/100/config");
    let digest = host.get(&path).await["digest"].as_str().unwrap().to_owned();
    host.call(Method::PUT, &path, &[("name", "other"), ("digest", &digest)]).await;
    let seen = host.refused(Method::PUT, &path, &[("name", "third"), ("digest", &digest)]).await;
    assert_eq!(seen, died("checksum mismatch (file change by other user?)"));
    let boot = host.refused(Method::PUT, &path, &[("boot", "order=scsi0")]).await;
    assert_eq!(boot, died("invalid bootorder: device 'scsi0' does not exist'"));
    let root = host.refused(Method::PUT, &path, &[("skiplock", "yes")]).await;
    assert_eq!(root.status, 400);
}

#[tokio::test]
async fn what_a_running_vm_cannot_take_is_pending() {
    let host = Host::new().await;
    create(&host, "100").await;
    host.task(Method::POST, &format!("{VMS}/100/status/start"), &[]).await;
    let path = format!("{VMS}/100/config");
    host.call(Method::PUT, &path, &[("cores", "8"), ("name", "other")]).await;
    assert_eq!(host.get(&path).await["cores"], 8);
    let current = host.get(&format!("{path}?current=1")).await;
    assert_eq!((&current["cores"], &current["name"]), (&json!(4), &json!("other")));
    let pending = host.get(&format!("{VMS}/100/pending")).await;
    let row = pending.as_array().unwrap().iter().find(|row| row["key"] == "cores").unwrap();
    assert_eq!(row, &json!({ "key": "cores", "value": 4, "pending": 8 }));
    let refused = host.refused(Method::DELETE, &format!("{VMS}/100"), &[]).await;
    assert_eq!(refused, died("VM 100 is running - destroy failed"));
    assert_eq!(host.task(Method::POST, &format!("{VMS}/100/status/stop"), &[]).await, "OK");
    assert_eq!(host.get(&format!("{path}?current=1")).await["cores"], 8);
}

#[tokio::test]
async fn a_destroyed_vm_takes_its_own_volumes_with_it() {
    let host = Host::new().await;
    create(&host, "100").await;
    let path = format!("{VMS}/100/config");
    host.task(Method::POST, &path, &[("scsi0", "local-zfs:4")]).await;
    host.task(Method::POST, &path, &[("scsi1", "local-zfs:4")]).await;
    host.call(Method::PUT, &path, &[("delete", "scsi1")]).await;
    assert_eq!(host.get(&path).await["unused0"], "local-zfs:vm-100-disk-1");
    std::fs::write(host.folder.path().join("storage/local-zfs/vm-100-disk-7"), "orphan").unwrap();
    host.call(Method::PUT, &path, &[("protection", "1")]).await;
    let refused = host.refused(Method::DELETE, &format!("{VMS}/100"), &[]).await;
    assert_eq!(refused, died("can't remove VM 100 - protection mode enabled"));
    host.call(Method::PUT, &path, &[("protection", "0")]).await;
    assert_eq!(host.task(Method::DELETE, &format!("{VMS}/100?purge=1"), &[]).await, "OK");
    let left = host.get("/nodes/lab-pve/storage/local-zfs/content").await;
    assert_eq!(left[0]["volid"], "local-zfs:vm-100-disk-7");
    assert_eq!(host.get(VMS).await, json!([]));
}

/// A world so slow that its tasks never end by themselves.
const STILL: f64 = 0.001;

#[tokio::test]
async fn a_power_cut_during_creation_leaves_a_locked_vm() {
    let mut host = Host::at_speed(STILL).await;
    let form = [("vmid", "100"), ("name", "a"), ("onboot", "1")];
    let upid = host.call(Method::POST, VMS, &form).await;
    let config = host.get(&format!("{VMS}/100/config")).await;
    assert_eq!(config["lock"], "create");
    assert_eq!(config["name"], Value::Null);
    host.cut();
    assert_eq!(crate::status(host.folder.path()).unwrap().vms[0]["lock"], "create");
    host.open(5000.0).await;
    assert_eq!(host.ended(upid.as_str().unwrap()).await, "unexpected status");
    let refused = host.refused(Method::PUT, &format!("{VMS}/100/config"), &[("name", "b")]).await;
    assert_eq!(refused, died("VM is locked (create)"));
    assert_eq!(
        host.task(Method::DELETE, &format!("{VMS}/100"), &[]).await,
        "VM is locked (create)"
    );
    let path = format!("{VMS}/100?skiplock=1");
    assert_eq!(host.task(Method::DELETE, &path, &[]).await, "OK");
}

#[tokio::test]
async fn a_power_cut_during_an_import_leaves_an_orphan() {
    let mut host = Host::new().await;
    create(&host, "100").await;
    download(&host, "talos.qcow2", "{}").await;
    host.cut();
    host.open(0.5).await;
    let disk = [("scsi0", "local-zfs:0,import-from=local:import/talos.qcow2")];
    host.call(Method::POST, &format!("{VMS}/100/config"), &disk).await;
    let content = "/nodes/lab-pve/storage/local-zfs/content";
    let appear = async {
        while host.get(content).await == json!([]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, appear).await.unwrap();
    host.cut();
    host.open(5000.0).await;
    assert_eq!(host.get(content).await[0]["volid"], "local-zfs:vm-100-disk-0");
    assert_eq!(host.get(&format!("{VMS}/100/config")).await["scsi0"], Value::Null);
    assert_eq!(host.times("vm/100", "import"), 0);
    assert_eq!(host.task(Method::POST, &format!("{VMS}/100/config"), &disk).await, "OK");
    let config = host.get(&format!("{VMS}/100/config")).await;
    assert_eq!(config["scsi0"], "local-zfs:vm-100-disk-1,size=6M");
}

#[tokio::test]
async fn a_stopped_creation_leaves_nothing() {
    let host = Host::at_speed(STILL).await;
    let upid = host.call(Method::POST, VMS, &[("vmid", "100"), ("scsi0", "local-zfs:4")]).await;
    let upid = upid.as_str().unwrap();
    host.call(Method::DELETE, &format!("/nodes/lab-pve/tasks/{upid}"), &[]).await;
    assert_eq!(host.ended(upid).await, "unable to create VM 100 - received interrupt");
    assert_eq!(host.get(VMS).await, json!([]));
    let log = host.get(&format!("/nodes/lab-pve/tasks/{upid}/log")).await;
    let last = log.as_array().unwrap().last().unwrap();
    assert_eq!(last["t"], "TASK ERROR: unable to create VM 100 - received interrupt");
}

#[tokio::test]
async fn vms_that_start_with_the_host_run_after_a_power_cut() {
    let mut host = Host::new().await;
    for (vmid, onboot) in [("100", "1"), ("101", "0")] {
        let form = [("vmid", vmid), ("onboot", onboot), ("start", "1")];
        assert_eq!(host.task(Method::POST, VMS, &form).await, "OK");
    }
    host.cut();
    host.open(5000.0).await;
    assert_eq!(host.get(&format!("{VMS}/100/status/current")).await["status"], "running");
    assert_eq!(host.get(&format!("{VMS}/101/status/current")).await["status"], "stopped");
    assert_eq!(host.times("vm/100", "start"), 1);
}

#[tokio::test]
async fn tokens_need_their_privileges_for_each_option() {
    let host = Host::new().await;
    host.call(
        Method::POST,
        "/access/roles",
        &[
            ("roleid", "Flow"),
            ("privs", "VM.Allocate,VM.Audit,VM.Config.Options,VM.Config.Network"),
        ],
    )
    .await;
    host.call(Method::POST, "/access/users", &[("userid", "flow@pve")]).await;
    host.call(
        Method::PUT,
        "/access/acl",
        &[("path", "/vms"), ("roles", "Flow"), ("users", "flow@pve")],
    )
    .await;
    let made =
        host.call(Method::POST, "/access/users/flow@pve/token/tk", &[("privsep", "0")]).await;
    let token = format!("flow@pve!tk={}", made["value"].as_str().unwrap());
    let post = async |form: &[(&str, &str)]| {
        let seen = seen(host.with_token(Method::POST, VMS, &token).form(form)).await;
        (seen.status, seen.reason)
    };
    let refused = |text: &str| (403, format!("Permission check failed ({text})"));
    assert_eq!(post(&[("vmid", "100"), ("cores", "2")]).await, refused("/vms/100, VM.Config.CPU"));
    let net = "virtio,bridge=vmbr4,tag=4";
    assert_eq!(
        post(&[("vmid", "100"), ("net0", net)]).await,
        refused("/sdn/zones/localnetwork/vmbr4/4, SDN.Use")
    );
    assert_eq!(
        post(&[("vmid", "100"), ("args", "-S")]).await,
        (500, "only root can set 'args' config".to_owned())
    );
    let (status, _) = post(&[("vmid", "100"), ("name", "a")]).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn two_calls_on_one_vm_wait_for_each_other() {
    let host = Host::new().await;
    create(&host, "100").await;
    let path = format!("{VMS}/100/config");
    let change = async |name: &str| host.task(Method::POST, &path, &[("name", name)]).await;
    let (first, second) = tokio::join!(change("a"), change("b"));
    assert_eq!((first.as_str(), second.as_str()), ("OK", "OK"));
    assert_eq!(host.times("vm/100", "config"), 2);
}

#[tokio::test]
async fn a_started_vm_answers_at_the_address_that_its_meta_plans() {
    let host = Host::new().await;
    create(&host, "1500").await;
    let address = format!("127.{}.1.1", host.lab().octet());
    let meta = json!({
        "addresses": [{ "address": format!("{address}/16"), "linkName": "eth0", "family": "inet4",
                        "scope": "global", "flags": "permanent", "layer": "platform" }],
        "links": [{ "name": "eth0", "up": true, "layer": "platform" }],
    });
    assert_eq!(download(&host, "talos.qcow2", &meta.to_string()).await, "OK");
    let path = format!("{VMS}/1500/config");
    let disk = [("scsi0", "local-zfs:0,import-from=local:import/talos.qcow2")];
    assert_eq!(host.task(Method::POST, &path, &disk).await, "OK");
    host.call(Method::PUT, &path, &[("boot", "order=scsi0")]).await;
    host.task(Method::POST, &format!("{VMS}/1500/status/start"), &[]).await;
    let answers = async {
        while tokio::net::TcpStream::connect((address.as_str(), 50000)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, answers).await.unwrap();
    host.task(Method::POST, &format!("{VMS}/1500/status/stop"), &[]).await;
    let silent = async {
        while tokio::net::TcpStream::connect((address.as_str(), 50000)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, silent).await.unwrap();
}
