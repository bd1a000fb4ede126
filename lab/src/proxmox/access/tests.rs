use super::*;

fn token(privsep: bool) -> Token {
    Token { secret: "s".to_owned(), privsep, expire: 0, comment: String::new() }
}

fn caller(user: &str, token: Option<&str>) -> Caller {
    Caller { user: user.to_owned(), token: token.map(str::to_owned) }
}

fn access() -> Access {
    let mut access = Access::default();
    let tokens = [("sep", token(true)), ("full", token(false))];
    let user = User {
        tokens: tokens.into_iter().map(|(name, token)| (name.to_owned(), token)).collect(),
        groups: BTreeSet::from(["ops".to_owned()]),
        ..User::default()
    };
    access.users.insert(ROOT.to_owned(), User::default());
    access.users.insert("flow@pve".to_owned(), user);
    access.roles.insert("Flow".to_owned(), BTreeSet::from(["VM.Audit".to_owned()]));
    access
}

fn grant(access: &mut Access, path: &str, who: &str, role: &str, propagate: bool) {
    let entries = access.acl.entry(path.to_owned()).or_default();
    let of = if who.contains('!') {
        &mut entries.tokens
    } else if who.contains('@') {
        &mut entries.users
    } else {
        &mut entries.groups
    };
    of.entry(who.to_owned()).or_default().insert(role.to_owned(), propagate);
}

#[test]
fn root_may_everything_and_its_tokens_are_not_root() {
    let access = access();
    assert!(access.has_any(&caller(ROOT, None), "/nodes/x", &["Sys.Modify"]));
    assert!(caller(ROOT, None).is_root());
    assert!(!caller(ROOT, Some("t")).is_root());
}

#[test]
fn a_deeper_entry_replaces_and_a_group_counts_less_than_a_user() {
    let mut access = access();
    let flow = caller("flow@pve", None);
    grant(&mut access, "/", "ops", "PVEVMAdmin", true);
    assert!(access.has_any(&flow, "/vms/100", &["VM.Allocate"]));
    grant(&mut access, "/vms", "flow@pve", "Flow", true);
    assert!(!access.has_any(&flow, "/vms/100", &["VM.Allocate"]));
    assert!(access.has_any(&flow, "/vms/100", &["VM.Audit"]));
    grant(&mut access, "/vms/100", "flow@pve", "NoAccess", true);
    assert!(!access.has_any(&flow, "/vms/100", &["VM.Audit"]));
}

#[test]
fn an_entry_without_propagation_holds_on_its_path_alone() {
    let mut access = access();
    let flow = caller("flow@pve", None);
    grant(&mut access, "/vms", "flow@pve", "Flow", false);
    assert!(access.has_any(&flow, "/vms", &["VM.Audit"]));
    assert!(!access.has_any(&flow, "/vms/100", &["VM.Audit"]));
}

#[test]
fn a_separated_token_has_what_both_have() {
    let mut access = access();
    grant(&mut access, "/vms", "flow@pve", "Flow", true);
    let separated = caller("flow@pve", Some("sep"));
    assert!(!access.has_any(&separated, "/vms", &["VM.Audit"]));
    assert!(access.has_any(&caller("flow@pve", Some("full")), "/vms", &["VM.Audit"]));
    grant(&mut access, "/", "flow@pve!sep", "Administrator", true);
    assert_eq!(
        access.privileges(&separated, "/vms"),
        Privileges::from([("VM.Audit".to_owned(), true)])
    );
}

#[test]
fn names_have_their_grammar() {
    assert!(check_user_id("flow@pve").is_ok());
    assert!(check_user_id("flow").is_err());
    assert!(check_user_id("a:b@pve").is_err());
    assert!(is_name("ab") && !is_name("a") && !is_name("1a"));
}
