//! source-controller: `GitRepository` objects.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Flux, REQUESTED, hold, let_go, period, set_failed, set_handled, set_progressing, set_succeeded,
};
use crate::{
    http,
    kubernetes::{
        controllers::Turn,
        json::{
            annotation, at, drop_condition, name, namespace, now, number, set_condition,
            set_status, text, uid,
        },
        objects::View,
    },
    world::locked,
};

/// The resource of `GitRepository` objects.
pub(super) const GIT: &str = "source.toolkit.fluxcd.io/gitrepositories";
/// How long a clone takes in the world, besides the request itself.
const CLONE: Duration = Duration::from_secs(3);
/// How long a failed fetch waits for the next.
const RETRY: Duration = Duration::from_secs(15);

/// Fetches that have ended, by the object's uid.
#[derive(Debug, Default)]
pub(super) struct Fetches(Mutex<BTreeMap<String, Result<String, Trouble>>>);

/// Why a fetch failed: reason and message.
type Trouble = (&'static str, String);

/// Generation, token of a request.
type Wish = (i64, String);

/// What was tried for one object.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    running: Option<Wish>,
    done: Option<Wish>,
    failed: bool,
    count: u32,
}

/// Looks at every GitRepository.
pub(super) fn run(turn: &mut Turn<'_, '_>, flux: &mut Flux) {
    for repository in turn.tx.list(GIT) {
        if at(&repository, "/metadata/deletionTimestamp").is_string() {
            let_go(turn, GIT, &repository);
        } else if at(&repository, "/spec/suspend") != &json!(true) {
            one(turn, flux, &repository);
        }
    }
}

fn one(turn: &mut Turn<'_, '_>, flux: &mut Flux, repository: &Value) {
    let id = uid(repository).to_owned();
    let wish =
        (number(repository, "/metadata/generation"), annotation(repository, REQUESTED).to_owned());
    let attempt = flux.sources.entry(id.clone()).or_default();
    if let Some(running) = &attempt.running {
        let Some(fetched) = locked(&flux.fetches.0).remove(&id) else { return };
        attempt.failed = fetched.is_err();
        attempt.done = Some(running.clone());
        attempt.running = None;
        attempt.count += 1;
        finish(turn, repository, fetched);
        return;
    }
    let pause =
        if attempt.failed { RETRY } else { period(repository, "interval", Duration::from_mins(1)) };
    let again = attempt.done.as_ref() == Some(&wish);
    let key = format!("git/{id}/{}", attempt.count);
    if again && !turn.waited(&key, pause.as_secs_f64()) {
        return;
    }
    // A first look, or one that failed, shows; a routine look does not.
    if !again || attempt.failed {
        turn.change(GIT, repository, |r| {
            hold(r);
            set_progressing(r, "building artifact");
        });
    }
    attempt.running = Some(wish);
    begin(turn, flux, repository, id);
}

/// What a fetch needs.
struct Fetch {
    url: String,
    reference: String,
    authority: Option<String>,
    login: Option<(String, String)>,
}

fn secret_text(secret: &Value, key: &str) -> Option<String> {
    let bytes = STANDARD.decode(at(secret, "/data").get(key)?.as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

fn plan(turn: &Turn<'_, '_>, repository: &Value) -> Result<Fetch, Trouble> {
    let url = text(repository, "/spec/url").trim_end_matches('/').to_owned();
    let reference = match text(repository, "/spec/ref/branch") {
        "" => "refs/heads/master".to_owned(),
        branch => format!("refs/heads/{branch}"),
    };
    let mut fetch = Fetch { url, reference, authority: None, login: None };
    let named = text(repository, "/spec/secretRef/name");
    if !named.is_empty() {
        let space = namespace(repository);
        let Some(secret) = turn.tx.get("core/secrets", space, named) else {
            let message =
                format!("failed to get secret '{space}/{named}': secrets \"{named}\" not found");
            return Err(("AuthenticationFailed", message));
        };
        fetch.authority = secret_text(&secret, "ca.crt").or_else(|| secret_text(&secret, "caFile"));
        fetch.login = secret_text(&secret, "username").zip(secret_text(&secret, "password"));
    }
    Ok(fetch)
}

fn begin(turn: &Turn<'_, '_>, flux: &Flux, repository: &Value, id: String) {
    let planned = plan(turn, repository);
    let (fetches, cluster) = (flux.fetches.clone(), turn.cluster.clone());
    let world = turn.cluster.world().clone();
    world.clone().spawn(async move {
        world.clock().sleep(CLONE).await;
        let result = match planned {
            Ok(fetch) => remote_head(&world, &fetch).await,
            Err(trouble) => Err(trouble),
        };
        locked(&fetches.0).insert(id, result);
        cluster.nudge();
    });
}

/// The commit at the tip of the branch, as the server lists it.
async fn remote_head(world: &crate::world::World, fetch: &Fetch) -> Result<String, Trouble> {
    let Fetch { url, reference, authority, login } = fetch;
    let refs = format!("{url}/info/refs?service=git-upload-pack");
    let failed = |why: &str| {
        let message = format!(
            "failed to checkout and determine revision: unable to list remote for '{url}': Get \"{refs}\": {why}"
        );
        ("GitOperationFailed", message)
    };
    let parsed = url::Url::parse(url).map_err(|error| failed(&error.to_string()))?;
    let address = parsed.host_str().and_then(|h| h.parse().ok());
    // Pods of the world reach the world's own addresses only.
    if !address.is_some_and(|a| world.address().contains(a)) {
        let host = parsed.host_str().unwrap_or_default();
        return Err(failed(&format!("dial tcp: lookup {host} on 10.96.0.10:53: no such host")));
    }
    let client = http::client(authority.as_deref().unwrap_or_default()).map_err(|_| {
        ("AuthenticationFailed", "failed to parse the authority of the secret".to_owned())
    })?;
    let mut request = client.get(&refs).timeout(Duration::from_secs(10));
    if let Some((user, password)) = login {
        request = request.basic_auth(user, Some(password));
    }
    let response = request.send().await.map_err(|error| failed(&transport(&error)))?;
    let status = response.status();
    if !status.is_success() {
        return Err(failed(&format!("unexpected client error: {status}")));
    }
    let listed = response.text().await.map_err(|error| failed(&transport(&error)))?;
    listed
        .lines()
        .find_map(|line| line.split_once('\t').filter(|(_, found)| found == reference))
        .map(|(commit, _)| commit.to_owned())
        .ok_or_else(|| {
            let message = format!(
                "failed to checkout and determine revision: unable to clone '{url}': couldn't find remote ref \
                 \"{reference}\""
            );
            ("GitOperationFailed", message)
        })
}

/// A transport error in Go's words.
fn transport(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    let mut last = error.to_string();
    while let Some(one) = cause {
        last = one.to_string();
        cause = one.source();
    }
    if last.contains("UnknownIssuer") || last.contains("invalid peer certificate") {
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            .to_owned();
    }
    last
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn finish(turn: &mut Turn<'_, '_>, repository: &Value, fetched: Result<String, Trouble>) {
    let (branch, space, named) =
        (text(repository, "/spec/ref/branch").to_owned(), namespace(repository), name(repository));
    let branch = if branch.is_empty() { "master".to_owned() } else { branch };
    match fetched {
        Ok(commit) => {
            let revision = format!("{branch}@sha1:{commit}");
            let message = format!("stored artifact for revision '{revision}'");
            let path = format!("gitrepository/{space}/{named}/{commit}.tar.gz");
            let digest = hex(&Sha256::digest(commit.as_bytes()));
            let new = text(repository, "/status/artifact/revision") != revision;
            let changed = turn.change(GIT, repository, |r| {
                if new {
                    let artifact = json!({
                        "path": path, "revision": revision, "digest": format!("sha256:{digest}"), "size": 4096,
                        "lastUpdateTime": now(),
                        "url": format!("http://source-controller.{}.svc.cluster.local./{path}", super::NAMESPACE),
                    });
                    set_status(r, "artifact", artifact);
                }
                drop_condition(r, "FetchFailed");
                set_condition(r, "ArtifactInStorage", "True", ("Succeeded", &message));
                set_succeeded(r, "Succeeded", &message);
                set_handled(r);
            });
            if changed && new {
                turn.event(repository, "Normal", ("NewArtifact", &message), "source-controller");
            }
        }
        Err((reason, message)) => {
            turn.change(GIT, repository, |r| {
                set_condition(r, "FetchFailed", "True", (reason, &message));
                set_failed(r, reason, &message);
                set_handled(r);
            });
            turn.event(repository, "Warning", (reason, &message), "source-controller");
        }
    }
}
