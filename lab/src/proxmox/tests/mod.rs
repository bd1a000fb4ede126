use std::time::Duration;

use hyper::ext::ReasonPhrase;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{Count, Lab, Options, http};

mod access;
mod images;
mod machines;

/// How long a task may take, in real time.
const DEADLINE: Duration = Duration::from_secs(10);

/// A world of its own, and a client that is logged in as root.
struct Host {
    lab: Option<Lab>,
    http: reqwest::Client,
    base: String,
    cookie: String,
    csrf: String,
    folder: tempfile::TempDir,
}

/// An answer as a client sees it.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    reason: String,
    body: Value,
}

impl Host {
    async fn new() -> Self {
        Self::at_speed(5000.0).await
    }

    async fn at_speed(speed: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut host = Self {
            lab: None,
            http: http::client("").unwrap(),
            base: String::new(),
            cookie: String::new(),
            csrf: String::new(),
            folder,
        };
        host.open(speed).await;
        host
    }

    /// Opens the world, also after a power cut.
    async fn open(&mut self, speed: f64) {
        let options = Options { speed, ..Options::new(self.folder.path()) };
        let lab = Lab::draw(options).unwrap();
        let authority = std::fs::read_to_string(self.folder.path().join("ca.pem")).unwrap();
        self.http = http::client(&authority).unwrap();
        self.base = format!("https://127.{}.0.10:8006/api2/json", lab.octet());
        self.lab = Some(lab);
        let password = std::fs::read_to_string(self.folder.path().join("root-password")).unwrap();
        let form = [("username", "root@pam"), ("password", &password)];
        let request = self.http.post(format!("{}/access/ticket", self.base)).form(&form);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let ticket = answer["data"]["ticket"].as_str().unwrap().replace('+', "%2B");
        self.cookie = format!("PVEAuthCookie={ticket}");
        answer["data"]["CSRFPreventionToken"].as_str().unwrap().clone_into(&mut self.csrf);
    }

    fn cut(&mut self) {
        self.lab.take().unwrap().stop();
    }

    fn lab(&self) -> &Lab {
        self.lab.as_ref().unwrap()
    }

    fn times(&self, object: &str, verb: &str) -> u64 {
        let counts: Vec<Count> = self.lab().counts().unwrap();
        let found = counts.iter().find(|count| count.object == object && count.verb == verb);
        found.map_or(0, |count| count.times)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        request.header("cookie", &self.cookie).header("csrfpreventiontoken", &self.csrf)
    }

    fn with_token(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        request.header("authorization", format!("PVEAPIToken={token}"))
    }

    /// Makes a call that must succeed, and returns its data.
    async fn call(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Value {
        let request = self.request(method.clone(), path);
        let request = if form.is_empty() { request } else { request.form(form) };
        let seen = seen(request).await;
        assert_eq!(seen.status, 200, "{method} {path}: {seen:?}");
        seen.body["data"].clone()
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, &[]).await
    }

    /// Makes a call whose task must end; how it did.
    async fn task(&self, method: Method, path: &str, form: &[(&str, &str)]) -> String {
        let upid = self.call(method, path, form).await;
        self.ended(upid.as_str().unwrap()).await
    }

    async fn ended(&self, upid: &str) -> String {
        let path = format!("/nodes/lab-pve/tasks/{}/status", upid.replace(':', "%3A"));
        let wait = async {
            loop {
                let status = self.get(&path).await;
                if status["status"] == "stopped" {
                    return status["exitstatus"].as_str().unwrap().to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap()
    }

    /// Makes a call that must fail.
    async fn refused(&self, method: Method, path: &str, form: &[(&str, &str)]) -> Seen {
        let request = self.request(method, path);
        let request = if form.is_empty() { request } else { request.form(form) };
        seen(request).await
    }
}

async fn seen(request: RequestBuilder) -> Seen {
    let response = request.send().await.unwrap();
    let status = response.status();
    let phrase = response.extensions().get::<ReasonPhrase>();
    let reason = phrase.map_or_else(
        || status.canonical_reason().unwrap_or_default().to_owned(),
        |phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
    );
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Seen { status: status.as_u16(), reason, body }
}

fn died(text: &str) -> Seen {
    let body = json!({ "data": null, "message": format!("{text}\n") });
    Seen { status: 500, reason: text.to_owned(), body }
}

#[tokio::test]
async fn requests_are_refused_as_the_http_server_does() {
    let host = Host::new().await;
    let unknown = host.refused(Method::GET, "/nope", &[]).await;
    assert_eq!(
        (unknown.status, unknown.reason.as_str()),
        (501, "Method 'GET /api2/json/nope' not implemented")
    );
    let body = host.refused(Method::DELETE, "/nodes/lab-pve/qemu/100", &[("purge", "1")]).await;
    assert_eq!(
        (body.status, body.reason.as_str()),
        (501, "Unexpected content for method 'DELETE'")
    );
    let xml =
        host.request(Method::POST, "/access/roles").header("content-type", "text/xml").body("<a/>");
    assert_eq!(seen(xml).await.status, 506);
    let other = host.refused(Method::GET, "/nodes/other/qemu", &[]).await;
    let text = "hostname lookup 'other' failed - failed to get address info for: other: Name or service not known";
    assert_eq!(other, died(text));
}

#[tokio::test]
async fn the_host_says_what_it_is() {
    let host = Host::new().await;
    assert_eq!(host.get("/version").await["release"], "9.1");
    assert_eq!(host.get("/nodes").await[0]["node"], "lab-pve");
    assert_eq!(host.get("/cluster/nextid").await, "100");
    let stores = host.get("/nodes/lab-pve/storage?content=import").await;
    assert_eq!(stores[0]["storage"], "local");
    assert_eq!(stores.as_array().unwrap().len(), 1);
    let bridges = host.get("/nodes/lab-pve/network?type=any_bridge").await;
    let names: Vec<_> = bridges.as_array().unwrap().iter().map(|b| b["iface"].clone()).collect();
    assert_eq!(names, ["vmbr0", "vmbr4"]);
    assert_eq!(
        StatusCode::OK,
        host.request(Method::GET, "/access/domains").send().await.unwrap().status()
    );
}
