use super::*;

fn call<'a>(system: System, method: &'a str, path: &'a str) -> Described<'a> {
    Described { system, machine: None, method, path, verb: None, rpc: None }
}

fn rpc<'a>(machine: &'a str, rpc: &'a str) -> Described<'a> {
    Described { machine: Some(machine), rpc: Some(rpc), ..call(System::Talos, "POST", "/") }
}

#[test]
fn faults_are_read_and_written_back() {
    for text in [
        "proxmox:POST */config:reply-lost:1",
        "talos@controlplane0:Bootstrap:hang:always",
        "talos:Etcd*:5xx:1",
        "proxmox:GET */tasks/UPID:lab-pve:*/status:slow=2s:3",
        "kubernetes:apply */secrets/*:5xx:1",
        "kubernetes@controlplane0:watch:reset:2",
        "factory:*:malformed:always",
    ] {
        assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
    }
    let once: Fault = "factory:POST /schematics:5xx".parse().unwrap();
    assert_eq!(once.to_string(), "factory:POST /schematics:5xx:1");
}

#[test]
fn what_is_no_fault_says_why() {
    for (text, why) in [
        ("proxmox", "`proxmox` is not a fault"),
        ("nas:GET /:reset", "the lab has no system `nas`"),
        ("git:GET /:explode", "`explode` is not something that can happen to a call"),
        ("git:GET /:reset:0", "a fault cannot happen 0 times"),
        ("git:GET /:reset:-1", "a fault cannot happen -1 times"),
        ("git:GET /:reset:4294967296", "a fault cannot happen 4294967296 times"),
        ("git:Get /:reset", "`Get /` is no call of git"),
        ("git:GET:reset", "`GET` is no call of git"),
        ("git:GET config:reset", "`GET config` is no call of git"),
        ("proxmox:get:5xx", "`get` is no call of proxmox"),
        ("kubernetes:Bootstrap:5xx", "`Bootstrap` is no call of kubernetes"),
        ("talos:POST *:5xx", "`POST *` is no call of talos"),
        ("talos:Bootstrp:5xx", "`Bootstrp` is no call of talos"),
        ("talos::5xx", "`` is no call of talos"),
        ("talos@:Bootstrap:5xx", "talos has no machine ``"),
        ("git@worker0:*:5xx", "git has no machine `worker0`"),
    ] {
        assert_eq!(text.parse::<Fault>().unwrap_err().to_string(), why, "{text}");
    }
}

#[test]
fn a_machine_is_one_of_the_site() {
    let among = |text: &str| text.parse::<Fault>().unwrap().among(["a", "b"].into_iter());
    assert!(among("talos:Bootstrap:5xx").is_ok());
    assert!(among("talos@b:Bootstrap:5xx").is_ok());
    let error = among("talos@nope:Bootstrap:5xx").unwrap_err();
    assert_eq!(error.to_string(), "the site has no machine `nope`");
}

/// Whatever parts a text is made of, it is refused or means what it is written back as.
#[test]
fn no_text_is_misread() {
    let places = ["proxmox", "talos", "talos@a", "kubernetes@a:b", "git@", "@", "", "ü"];
    let calls =
        ["*", "GET /a", "* *", "get", "get /a:b", "get  x", "Etcd*", "Bootstrap", "**", ":", " "];
    let effects = ["5xx", "slow=0.5s", "slow=-1s", "slow=NaNs", "slow=1e99s", "always", "1", ""];
    let counts = ["", ":", ":1", ":01", ":+1", ":-0", ":always", ":5xx", ":always:1"];
    let mut read = 0;
    for place in places {
        for (call, effect) in calls.iter().flat_map(|call| effects.map(|effect| (call, effect))) {
            for text in counts.map(|count| format!("{place}:{call}:{effect}{count}")) {
                if let Ok(fault) = text.parse::<Fault>() {
                    assert_eq!(fault.to_string().parse(), Ok(fault), "{text}");
                    read += 1;
                }
            }
        }
    }
    assert!(read > 100, "only {read} were faults");
}

#[test]
fn a_fault_happens_as_often_as_it_says() {
    let faults = Faults::new(vec!["git:GET /x:reset:2".parse().unwrap()]);
    let hit = call(System::Git, "GET", "/x");
    assert_eq!(faults.take(&call(System::Git, "GET", "/y")), None);
    assert_eq!(faults.take(&call(System::Factory, "GET", "/x")), None);
    assert_eq!(faults.take(&hit), Some(Effect::Reset));
    assert_eq!(faults.take(&hit), Some(Effect::Reset));
    assert_eq!(faults.take(&hit), None);
}

#[test]
fn a_star_is_every_call_of_its_system() {
    for system in System::ALL {
        let faults = Faults::new(vec![format!("{system}:*:hang:always").parse().unwrap()]);
        assert_eq!(faults.take(&call(system, "GET", "/x")), Some(Effect::Hang));
        let rpc = Described { system, ..rpc("a", "Version") };
        assert_eq!(faults.take(&rpc), Some(Effect::Hang));
    }
}

#[test]
fn a_machine_is_hit_alone() {
    let faults = Faults::new(vec!["talos@a:Version:hang:always".parse().unwrap()]);
    assert_eq!(faults.take(&rpc("b", "Version")), None);
    assert_eq!(faults.take(&rpc("a", "Version")), Some(Effect::Hang));
}
