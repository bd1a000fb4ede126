use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;

const CANARY: &str = "canary-7b1f";

fn place(folder: &tempfile::TempDir) -> VaultPlace {
    let dir = SiteDir::new(folder.path(), "lab");
    dir.create().unwrap();
    let identity = folder.path().join("keys").join("identity");
    VaultPlace { create_identity: true, ..VaultPlace::of(&dir, identity) }
}

fn write(instance: &str, name: &str, value: Value) -> Vec<SecretWrite> {
    let instance = InstanceName::parse(instance);
    vec![SecretWrite { instance, name: name.to_owned(), value: Secret::new(value) }]
}

fn read(place: &VaultPlace, instance: &str, name: &str) -> Result<Option<Value>, Failure> {
    let vault = Arc::new(SiteVault::new(place.clone())).of("bootstrap");
    let found = vault.secret(&InstanceName::parse(instance), name)?;
    Ok(found.map(Secret::into_revealed))
}

#[test]
fn what_was_put_is_read_by_another_process_and_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    assert_eq!(read(&place, "a", "key"), Ok(None));
    assert!(!place.identity.exists(), "reading makes nothing");
    let vault = Arc::new(SiteVault::new(place.clone()));
    vault.put("bootstrap", write("a", "key", json!({ "pem": CANARY }))).unwrap();
    vault.put("bootstrap", write("b/c", "key", json!(7))).unwrap();
    assert_eq!(read(&place, "a", "key"), Ok(Some(json!({ "pem": CANARY }))));
    assert_eq!(read(&place, "b/c", "key"), Ok(Some(json!(7))));
    assert_eq!(read(&place, "a", "other"), Ok(None));
    let other = vault.of("upgrade").secret(&InstanceName::parse("a"), "key").unwrap();
    assert_eq!(other, None, "another workflow has its own");
    assert_eq!(vault.all().unwrap().len(), 2);
    assert!(!format!("{vault:?}").contains(CANARY));
    for file in [&place.file, &place.identity] {
        let content = fs::read(file).unwrap();
        assert!(!String::from_utf8_lossy(&content).contains(CANARY));
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn only_a_change_is_written_and_ten_earlier_vaults_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let vault = SiteVault::new(place.clone());
    vault.put("w", write("a", "key", json!(0))).unwrap();
    let before = fs::read(&place.file).unwrap();
    vault.put("w", write("a", "key", json!(0))).unwrap();
    assert_eq!(fs::read(&place.file).unwrap(), before);
    for value in 1..=15 {
        vault.put("w", write("a", "key", json!(value))).unwrap();
    }
    let kept = crate::backup::names(&place.backups, "vault-", ".age").len();
    assert!((1..=10).contains(&kept), "{kept}");
    let left: Vec<_> = fs::read_dir(place.file.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_vault_that_cannot_be_opened_is_never_none_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    SiteVault::new(place.clone()).put("bootstrap", write("a", "key", json!(CANARY))).unwrap();
    let sealed = fs::read(&place.file).unwrap();

    let moved = VaultPlace { identity: folder.path().join("other"), ..place.clone() };
    let failure = read(&moved, "a", "key").unwrap_err();
    assert_eq!(failure.code, "vault::no-identity");
    assert_eq!(failure.retry, flow_engine::Retry::Human);
    assert!(!moved.identity.exists(), "a lost identity is not replaced");

    Identity::load_or_create(&moved.identity).unwrap();
    assert_eq!(read(&moved, "a", "key").unwrap_err().code, "vault::unreadable");
    let vault = SiteVault::new(moved);
    vault.put("bootstrap", write("b", "key", json!(1))).unwrap_err();
    assert_eq!(fs::read(&place.file).unwrap(), sealed);

    for garbage in [&b""[..], b"garbage", &sealed[..sealed.len() - 1], &sealed[..40]] {
        fs::write(&place.file, garbage).unwrap();
        assert_eq!(read(&place, "a", "key").unwrap_err().code, "vault::unreadable");
        let vault = SiteVault::new(place.clone());
        vault.put("bootstrap", write("b", "key", json!(1))).unwrap_err();
        assert_eq!(fs::read(&place.file).unwrap(), garbage);
    }
}

#[test]
fn every_recipient_can_open_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let other = folder.path().join("colleague");
    let colleague = Identity::load_or_create(&other).unwrap().recipient();
    let shared = VaultPlace { recipients: vec![colleague], ..place.clone() };
    SiteVault::new(shared).put("bootstrap", write("a", "key", json!(1))).unwrap();
    assert_eq!(read(&place, "a", "key"), Ok(Some(json!(1))));
    let theirs = VaultPlace { identity: other, ..place.clone() };
    assert_eq!(read(&theirs, "a", "key"), Ok(Some(json!(1))));
    let wrong = VaultPlace { recipients: vec!["age1x".to_owned()], ..place };
    let error = SiteVault::new(wrong).put("bootstrap", write("a", "key", json!(2))).unwrap_err();
    assert_eq!(error.to_string(), "`age1x` is not an age recipient");
}

#[test]
fn a_digest_is_the_same_for_the_same_value_on_the_same_site() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    let digest = |place: &VaultPlace, text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        SiteVault::new(place.clone()).digest(&value).unwrap()
    };
    let one = digest(&place, r#"{"a":[1,"x"],"b":null}"#);
    assert_eq!(one, digest(&place, r#"{"b":null,"a":[1,"x"]}"#));
    assert_ne!(one, digest(&place, r#"{"a":[1],"b":null}"#));
    let elsewhere = VaultPlace { site: "home".to_owned(), ..place };
    assert_ne!(one, digest(&elsewhere, r#"{"a":[1,"x"],"b":null}"#));
    assert_eq!(one.len(), 64);
}

#[test]
fn a_foreign_identity_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity");
    for text in ["", "# only a comment\n", "nonsense\n"] {
        fs::write(&path, text).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, VaultError::Identity { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
