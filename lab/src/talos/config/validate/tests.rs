use crate::talos::config::Config;

const WORKER: &str = "machine:\n  type: worker\n  ca: {crt: YQ==}\ncluster:\n  controlPlane: {endpoint: 'https://cp:6443'}\n";

fn errors(text: &str) -> String {
    Config::parse(text.as_bytes(), 13).unwrap().validate(13).unwrap_err()
}

#[test]
fn errors_come_together_as_go_prints_them() {
    assert_eq!(
        errors("machine: {type: nonsense}\ncluster: {controlPlane: {endpoint: 'https://cp:6443'}}"),
        "1 error occurred:\n\t* v1alpha1.Config: 2 errors occurred:\n\t\
         * issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)\n\t\
         * unknown machine type \"nonsense\"\n\n\n\n"
    );
}

#[test]
fn workers_may_not_hold_what_is_the_controllers() {
    let good = Config::parse(WORKER.as_bytes(), 13).unwrap();
    assert_eq!(good.validate(13), Ok(Vec::new()));
    assert!(
        errors(&WORKER.replace("{crt: YQ==}", "{crt: YQ==, key: YQ==}"))
            .contains("issuing Talos API CA key is not allowed on non-controlplane nodes")
    );
    assert!(
        errors(&format!("{WORKER}  etcd: {{}}\n"))
            .contains("etcd config is only allowed on control plane machines")
    );
    let vip = WORKER.replace(
        "  ca:",
        "  network: {interfaces: [{interface: eth0, vip: {ip: 10.0.0.1}}]}\n  ca:",
    );
    assert!(errors(&vip).contains("virtual (shared) IP is not allowed"));
}

#[test]
fn one_hostname_source_is_enough() {
    let both = format!(
        "{}---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n",
        WORKER.replace("  ca:", "  network: {hostname: w0}\n  ca:")
    );
    assert!(errors(&both).contains("static hostname is already set in v1alpha1 config"));
    let bad = format!("{WORKER}---\napiVersion: v1alpha1\nkind: HostnameConfig\n");
    assert!(errors(&bad).contains("either 'auto' or 'hostname' must be set"));
}

#[test]
fn addresses_and_endpoints_are_read() {
    let text = WORKER.replace("https://cp:6443", "cp:6443");
    assert!(errors(&text).contains("invalid controlplane endpoint: "));
    let text = WORKER.replace(
        "  ca:",
        "  network: {interfaces: [{interface: eth0, addresses: [x], routes: [{}]}]}\n  ca:",
    );
    let found = errors(&text);
    assert!(found.contains("failed to parse IP address \"x\""));
    assert!(found.contains("route[0]]: either network or gateway should be set"));
}
