//! One call to a Proxmox API: its envelope, its errors, its deadline.
//!
//! Proxmox says what went wrong in the reason phrase of the status line, and since 2025 also in
//! the body; what is missing is a 500 with a text, not a 404. See `pve-http-server`.

use std::time::Duration;

use flow_engine::{KindError, Retry, Secret};
use hyper::ext::ReasonPhrase;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::deadline::Deadline;
use super::lenient::text;
use crate::reference::{Reference, ReferenceError};
use crate::tls::{BadAuthority, trusting};

/// Proxmox closes a connection that is idle for 5 s; ours are given up before.
const IDLE: Duration = Duration::from_secs(3);

/// Texts of failures that pass by themselves: locks, quorum, forks.
const PASSING: [&str; 6] = [
    "got timeout",
    "got lock request timeout",
    "can't lock file",
    "no quorum",
    "got no worker upid",
    "checksum mismatch (file change by other user?)",
];

/// Where an API is, and whose certificate it must show.
///
/// Part of params, and of handles, where it is an append-only format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Api {
    /// The Proxmox API, `https://HOST:8006`.
    #[serde(rename = "api")]
    pub(crate) url: String,
    /// The authority that signed its certificate.
    pub(crate) ca: Reference,
    /// How long one call may take; 30 s if nothing is said.
    #[serde(rename = "call", default)]
    pub(crate) deadline: Deadline,
}

/// A connection to one API, with one identity.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    /// How long one call may take.
    deadline: Duration,
    /// Who calls, for people.
    who: String,
    headers: HeaderMap,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum ApiError {
    /// The certificate authority of the site cannot be read.
    #[error("the certificate authority of {api} cannot be read")]
    #[diagnostic(code(proxmox::authority), help("check `[proxmox] ca` in the site file"))]
    Reference {
        /// The API.
        api: String,
        /// Why.
        source: ReferenceError,
    },
    /// The certificate authority or the address of the site is not one.
    #[error("`{api}` and its certificate authority cannot be used")]
    #[diagnostic(
        code(proxmox::authority),
        help("`api` is like https://HOST:8006, `ca` a PEM file as /etc/pve/pve-root-ca.pem")
    )]
    Unusable {
        /// The API.
        api: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection failed, or ended before the answer.
    #[error("{api} is not reachable")]
    #[diagnostic(
        code(proxmox::unreachable),
        help("check the address, and that the certificate is signed by the site's `ca`")
    )]
    Unreachable {
        /// The API.
        api: String,
        /// What the connection saw.
        source: reqwest::Error,
    },
    /// The answer did not come in time, or is not in Proxmox' form.
    #[error("{call} got no proper answer within {within:?}")]
    #[diagnostic(
        code("proxmox::no-answer"),
        help("look at the load of the host, and at what else it does")
    )]
    NoAnswer {
        /// Method and path.
        call: String,
        /// The deadline of a call.
        within: Duration,
    },
    /// 401.
    #[error("{api} does not accept {who}")]
    #[diagnostic(
        code(proxmox::denied),
        help("check the password or token; `pveum user list` and `pveum user token list USER`")
    )]
    Denied {
        /// The API.
        api: String,
        /// User or token.
        who: String,
    },
    /// 403.
    #[error("{who} may not {call}: {reason}")]
    #[diagnostic(
        code(proxmox::forbidden),
        help("`flow run --only proxmox-access` adds the missing rights")
    )]
    Forbidden {
        /// User or token.
        who: String,
        /// Method and path.
        call: String,
        /// What Proxmox says.
        reason: String,
    },
    /// A lock, a lost quorum, an overloaded or restarting server.
    #[error("{call} failed for now: {reason}")]
    #[diagnostic(
        code(proxmox::busy),
        help("it is tried again; `pvesh get /cluster/tasks` tells what runs")
    )]
    Busy {
        /// Method and path.
        call: String,
        /// What Proxmox says.
        reason: String,
    },
    /// Anything else that Proxmox does not do.
    #[error("Proxmox refused {call}: {reason}")]
    #[diagnostic(code(proxmox::refused), help("the reason is Proxmox' own; see also its task log"))]
    Refused {
        /// Method and path.
        call: String,
        /// What Proxmox says, with what it says of each parameter.
        reason: String,
        /// Whether the call was turned away before anything began.
        before: bool,
    },
}

impl ApiError {
    /// Whether Proxmox said that the thing asked for is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { reason, before: false, .. }
            if reason.contains("does not exist") || reason.contains("no such"))
    }

    /// Whether Proxmox' reason contains a text.
    pub(super) fn says(&self, words: &str) -> bool {
        matches!(self, Self::Refused { reason, .. } | Self::Busy { reason, .. }
            if reason.contains(words))
    }
}

impl KindError for ApiError {
    fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::Busy { .. } => Retry::Backoff,
            Self::Refused { .. } => Retry::Never,
            Self::Reference { .. }
            | Self::Unusable { .. }
            | Self::Denied { .. }
            | Self::Forbidden { .. } => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Reference { .. }
            | Self::Unusable { .. }
            | Self::Denied { .. }
            | Self::Forbidden { .. } => true,
            Self::Refused { before, .. } => *before,
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::Busy { .. } => false,
        }
    }
}

/// `None` where the thing asked for is not there.
pub(crate) fn if_there<T>(result: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client {
    /// A client that shows an API token.
    pub(crate) async fn with_token(
        api: &Api,
        id: &str,
        secret: &Secret<String>,
    ) -> Result<Self, ApiError> {
        let value = format!("PVEAPIToken={id}={}", secret.reveal());
        let mut client = Self::stranger(api).await?;
        client.who = format!("the token {id}");
        client.show(AUTHORIZATION, &value)?;
        Ok(client)
    }

    /// A client that logs in with a password; its ticket holds for two hours.
    pub(super) async fn login(
        api: &Api,
        user: &str,
        password: &Secret<String>,
    ) -> Result<Self, ApiError> {
        let mut client = Self::stranger(api).await?;
        user.clone_into(&mut client.who);
        let form = [("username", user.to_owned()), ("password", password.reveal().clone())];
        let path = ["access", "ticket"];
        let answer = client.post(&path, &form).await?;
        let field = |name: &str| answer.get(name).and_then(text);
        let (Some(ticket), Some(csrf)) = (field("ticket"), field("CSRFPreventionToken")) else {
            return Err(client.no_answer(&Method::POST, &path));
        };
        client.show(COOKIE, &format!("PVEAuthCookie={ticket}"))?;
        client.show("CSRFPreventionToken", &csrf)?;
        Ok(client)
    }

    async fn stranger(api: &Api) -> Result<Self, ApiError> {
        let unusable = |source| ApiError::Unusable { api: api.url.clone(), source };
        let pem = api
            .ca
            .read()
            .await
            .map_err(|source| ApiError::Reference { api: api.url.clone(), source })?;
        let tls = trusting(pem.reveal()).map_err(|error: BadAuthority| unusable(error.into()))?;
        let base = Url::parse(&api.url).map_err(|error| unusable(error.into()))?;
        if base.cannot_be_a_base() {
            return Err(unusable("not a URL of a server".into()));
        }
        let deadline = api.deadline.get();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(IDLE)
            .timeout(deadline)
            .build()
            .map_err(|error| unusable(error.into()))?;
        Ok(Self { http, base, deadline, who: "a stranger".to_owned(), headers: HeaderMap::new() })
    }

    fn show(
        &mut self,
        name: impl reqwest::header::IntoHeaderName,
        value: &str,
    ) -> Result<(), ApiError> {
        // A secret that no header can hold is one that Proxmox never made.
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| ApiError::Denied { api: self.base.to_string(), who: self.who.clone() })?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }

    /// Reads.
    pub(crate) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Value, ApiError> {
        self.call(Method::GET, path, query).await
    }

    /// Asks for something new, or for a task.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        form: &[(&str, String)],
    ) -> Result<Value, ApiError> {
        self.call(Method::POST, path, form).await
    }

    /// Changes.
    pub(super) async fn put(
        &self,
        path: &[&str],
        form: &[(&str, String)],
    ) -> Result<Value, ApiError> {
        self.call(Method::PUT, path, form).await
    }

    /// Removes.
    pub(crate) async fn delete(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Value, ApiError> {
        self.call(Method::DELETE, path, query).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        params: &[(&str, String)],
    ) -> Result<Value, ApiError> {
        let request =
            self.http.request(method.clone(), self.url(path)).headers(self.headers.clone());
        let request = if method == Method::GET || method == Method::DELETE {
            request.query(params)
        } else {
            request.form(params)
        };
        let response = request.send().await.map_err(|error| self.broken(error, &method, path))?;
        let status = response.status();
        let phrase = phrase(&response);
        let body = response.bytes().await.map_err(|error| self.broken(error, &method, path))?;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        if !status.is_success() {
            return Err(self.refusal(status, &phrase, answer.as_ref(), &call_name(&method, path)));
        }
        match answer {
            Some(Value::Object(mut envelope)) if envelope.contains_key("data") => {
                Ok(envelope.remove("data").unwrap_or_default())
            }
            Some(_) | None => Err(self.no_answer(&method, path)),
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("`stranger` refuses a URL that cannot be a base")
            .pop_if_empty()
            .extend(["api2", "json"])
            .extend(path);
        url
    }

    fn broken(&self, error: reqwest::Error, method: &Method, path: &[&str]) -> ApiError {
        if error.is_timeout() {
            return self.no_answer(method, path);
        }
        ApiError::Unreachable { api: self.base.to_string(), source: error.without_url() }
    }

    fn no_answer(&self, method: &Method, path: &[&str]) -> ApiError {
        ApiError::NoAnswer { call: call_name(method, path), within: self.deadline }
    }

    fn refusal(
        &self,
        status: StatusCode,
        phrase: &str,
        answer: Option<&Value>,
        call: &str,
    ) -> ApiError {
        let call = call.to_owned();
        let reason = reason(status, phrase, answer);
        let passing = PASSING.iter().any(|words| reason.contains(words));
        match status.as_u16() {
            401 => ApiError::Denied { api: self.base.to_string(), who: self.who.clone() },
            403 => ApiError::Forbidden { who: self.who.clone(), call, reason },
            // 595 to 599: pveproxy did not reach the node; 502 to 504: something before it.
            429 | 502..=504 | 595..=599 => ApiError::Busy { call, reason },
            _ if passing => ApiError::Busy { call, reason },
            code => ApiError::Refused { call, reason, before: matches!(code, 400 | 404 | 501) },
        }
    }
}

fn call_name(method: &Method, path: &[&str]) -> String {
    format!("{method} /{}", path.join("/"))
}

/// The reason phrase of the status line, where it is not the usual one.
fn phrase(response: &reqwest::Response) -> String {
    let phrase = response.extensions().get::<ReasonPhrase>();
    phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned()).unwrap_or_default()
}

/// All that Proxmox says about a refusal, on one line.
fn reason(status: StatusCode, phrase: &str, answer: Option<&Value>) -> String {
    let field = |name: &str| answer.and_then(|answer| answer.get(name));
    let message = field("message").and_then(text).map(|text| text.trim().to_owned());
    let message = message
        .filter(|text| !text.is_empty())
        .or_else(|| Some(phrase.trim().to_owned()).filter(|text| !text.is_empty()));
    let mut words = message.unwrap_or_else(|| status.to_string());
    if let Some(Value::Object(errors)) = field("errors") {
        for (name, why) in errors {
            let why = text(why).unwrap_or_default();
            words.extend([" ", name.as_str(), ": ", why.trim()]);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reason_is_in_the_body_or_in_the_status_line() {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let new = json!({ "data": null, "message": "storage 'x' does not exist\n" });
        assert_eq!(reason(status, "", Some(&new)), "storage 'x' does not exist");
        let old = json!({ "data": null });
        assert_eq!(reason(status, "no such user ('a')", Some(&old)), "no such user ('a')");
        assert_eq!(reason(status, "", None), "500 Internal Server Error");
    }

    #[test]
    fn the_reason_names_each_parameter() {
        let body = json!({
            "data": null,
            "message": "Parameter verification failed.\n",
            "errors": { "tokenid": "Token already exists." },
        });
        assert_eq!(
            reason(StatusCode::BAD_REQUEST, "Parameter verification failed.", Some(&body)),
            "Parameter verification failed. tokenid: Token already exists."
        );
    }
}
