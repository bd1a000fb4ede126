use snapbox::{assert_data_eq, str};

use super::*;

fn end() -> RunEnd {
    RunEnd {
        workflow: "bootstrap".to_owned(),
        site: "lab".to_owned(),
        run: RunId(7),
        sessions: 1,
        took: Duration::from_secs(41),
        ..RunEnd::default()
    }
}

fn shown(end: &RunEnd) -> String {
    report(end).join("\n") + "\n"
}

#[test]
fn a_success_is_one_line() {
    let end = RunEnd { applied: 73, checked: 26, already_right: 3, ..end() };
    assert_data_eq!(
        shown(&end),
        str![[r#"
✓ bootstrap on lab in 41s   73 applied, 26 checked, 3 already right

"#]]
    );
}

#[test]
fn a_run_that_changed_something_says_what_it_led_to() {
    let fact = |label: &str, words: &str| (label.to_owned(), words.to_owned());
    let facts = vec![fact("api", "https://127.2.1.1:6443"), fact("protected", "app-keys")];
    let end = RunEnd { applied: 2, facts, ..end() };
    assert_data_eq!(
        shown(&end),
        str![[r#"
✓ bootstrap on lab in 41s   2 applied

  api        https://127.2.1.1:6443
  protected  app-keys

"#]]
    );
    let idle = RunEnd { applied: 0, checked: 2, ..end };
    assert_eq!(shown(&idle).lines().count(), 1);
}

#[test]
fn a_second_run_says_that_there_is_nothing_to_do() {
    let took = Duration::from_millis(1100);
    let drift = ("create-vm/worker1".to_owned(), "memory 12288 MiB, site says 16384".to_owned());
    let end = RunEnd { checked: 26, as_recorded: 75, left_drifted: vec![drift], took, ..end() };
    assert_data_eq!(
        shown(&end),
        str![[r#"
✓ bootstrap on lab in 1.1s   nothing to do: 26 checked, 75 as recorded, 1 left as found
  ! create-vm/worker1   memory 12288 MiB, site says 16384; left alone

"#]]
    );
}

fn transfer() -> FailedInstance {
    let failure = Failure::new(
        "dns::transfer-truncated",
        "203.0.113.10 still serves serial 2026112207 of test-cluster.example.com;\n\
         the primary, 10.2.3.3, has 2026112301",
        Retry::Backoff,
    )
    .with_causes(vec![
        "the secondary accepted the pull (pdns_control retrieve), 3 attempts in 2m04s".to_owned(),
        "AXFR stops after 1228 bytes: large packets vanish between the VPS and 10.2.3.3".to_owned(),
    ])
    .with_help(
        "a path-MTU black hole on the mesh. On the VPS, as root:\n  \
         sysctl -w net.ipv4.tcp_mtu_probing=1",
    );
    let at = Some(Duration::from_secs(1296));
    FailedInstance { name: "dns-transfer".to_owned(), failure, attempts: 3, at }
}

#[test]
fn a_failure_tells_what_why_what_it_blocks_and_how_to_go_on() {
    let by = |name: &str| (name.to_owned(), vec!["dns-transfer".to_owned()]);
    let end = RunEnd {
        site: "home".to_owned(),
        site_flag: " --site home".to_owned(),
        took: Duration::from_secs(2087),
        applied: 70,
        checked: 24,
        failed: vec![transfer()],
        blocked: ["certificates", "app/a", "app/b", "app/c", "https-public"].map(by).into(),
        ..end()
    };
    assert_data_eq!(
        shown(&end),
        str![[r#"
✗ bootstrap on home, run 7, after 34m47s   94 done, 1 failed (at 21m36s), 5 blocked by it

  × dns-transfer   dns::transfer-truncated, exit 1, 3 attempts
  │ 203.0.113.10 still serves serial 2026112207 of test-cluster.example.com;
  │ the primary, 10.2.3.3, has 2026112301
  ├─ the secondary accepted the pull (pdns_control retrieve), 3 attempts in 2m04s
  ╰─ AXFR stops after 1228 bytes: large packets vanish between the VPS and 10.2.3.3
  help: a path-MTU black hole on the mesh. On the VPS, as root:
          sysctl -w net.ipv4.tcp_mtu_probing=1

  blocked  dns-transfer → certificates, app ×3, https-public
  safe     nothing is half done

next   flow resume --site home             after the fix; starts with dns-transfer
       flow why dns-transfer --site home   what was asked and answered, attempt by attempt

"#]]
    );
}

#[test]
fn two_failures_are_told_apart_and_what_is_in_doubt_is_named() {
    let human = Failure::new("proxmox::denied", "atlas refuses the password", Retry::Human);
    let failed = |name: &str| FailedInstance {
        name: name.to_owned(),
        failure: human.clone(),
        attempts: 1,
        at: None,
    };
    let end = RunEnd {
        applied: 1,
        failed: vec![failed("a"), failed("b")],
        blocked: vec![
            ("c".to_owned(), vec!["a".to_owned()]),
            ("d".to_owned(), vec!["b".to_owned()]),
        ],
        open: vec!["b".to_owned()],
        ..end()
    };
    assert_data_eq!(
        shown(&end),
        str![[r#"
✗ bootstrap on lab, run 7, after 41s   1 done, 2 failed, 2 blocked by them

  × a   proxmox::denied, exit 4
  │ atlas refuses the password

  × b   proxmox::denied, exit 4
  │ atlas refuses the password

  blocked  a → c
           b → d
  open 1   b: asked for, the end is not known; `flow resume` looks first

next   flow resume   after the fix; starts with a
       flow why a    what was asked and answered, attempt by attempt

"#]]
    );
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let end = RunEnd { applied: 12, interrupted: Some(90), sessions: 2, ..end() };
    let open = vec!["create-vm/worker0".to_owned()];
    let in_flight = shown(&RunEnd { open, ..end.clone() });
    assert!(in_flight.contains("open 1   create-vm/worker0: asked for"), "{in_flight}");
    assert!(!in_flight.contains("nothing is half done"), "{in_flight}");
    assert_data_eq!(
        shown(&end),
        str![[r#"
! bootstrap on lab, run 7, stopped after 41s over 2 sessions   12 done, 90 not

  safe     nothing is half done

next   flow resume   goes on where it was stopped

"#]]
    );
    assert_eq!(end.object()["interrupted"], 90);
}

#[test]
fn a_long_message_is_wrapped_behind_its_bar() {
    let message = "word ".repeat(40);
    let failure = Failure::new("a::b", message.trim(), Retry::Never)
        .with_causes(vec!["cause ".repeat(30).trim().to_owned()]);
    assert_data_eq!(
        super::failure("x", &failure, 1).join("\n") + "\n",
        str![[r#"
  × x   a::b, exit 1
  │ word word word word word word word word word word word word word word word word word word word
  │ word word word word word word word word word word word word word word word word word word word
  │ word word
  ╰─ cause cause cause cause cause cause cause cause cause cause cause cause cause cause cause cause
     cause cause cause cause cause cause cause cause cause cause cause cause cause cause

"#]]
    );
}
