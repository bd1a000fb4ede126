//! From a request to its endpoint: login, path, privileges, parameters, in the order of the real server.

use std::collections::BTreeMap;

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request as HttpRequest, header},
    response::Response,
};
use futures_util::future::BoxFuture;
use url::form_urlencoded;

use super::{
    HOST, Proxmox, access,
    access::Caller,
    cluster, content, network,
    params::{BODY, Param, Params},
    qemu,
    reply::{self, Answer, Refused},
    storage, task,
};

/// Where the API starts.
const API: &str = "/api2/json";

/// A call that has passed login and found its endpoint.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) caller: Caller,
    pub(super) params: Params,
    path: BTreeMap<&'static str, String>,
}

impl Request {
    /// A part of the path by its name in the route.
    pub(super) fn path(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The VM that the path or a parameter names; checked by the schema.
    pub(super) fn vmid(&self) -> u32 {
        self.params.get("vmid").and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// Refuses callers without the privileges of an endpoint.
pub(super) type Check = fn(&Proxmox, &Request) -> Result<(), Refused>;

/// What answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Handler {
    Now(fn(&Proxmox, &Request) -> Answer),
    Later(fn(Proxmox, Request) -> BoxFuture<'static, Answer>),
}

/// One endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    method: Verb,
    path: &'static str,
    params: &'static [Param],
    more: &'static [Param],
    check: Option<Check>,
    open: bool,
    tickets_only: bool,
    handler: Handler,
}

/// The methods of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    fn is(self, method: &Method) -> bool {
        *method
            == match self {
                Self::Get => Method::GET,
                Self::Post => Method::POST,
                Self::Put => Method::PUT,
                Self::Delete => Method::DELETE,
            }
    }
}

type Now = fn(&Proxmox, &Request) -> Answer;
type Later = fn(Proxmox, Request) -> BoxFuture<'static, Answer>;

impl Route {
    const fn new(
        method: Verb,
        path: &'static str,
        params: &'static [Param],
        handler: Handler,
    ) -> Self {
        Self {
            method,
            path,
            params,
            more: &[],
            check: None,
            open: false,
            tickets_only: false,
            handler,
        }
    }

    pub(super) const fn get(path: &'static str, params: &'static [Param], handler: Now) -> Self {
        Self::new(Verb::Get, path, params, Handler::Now(handler))
    }

    pub(super) const fn post(path: &'static str, params: &'static [Param], handler: Now) -> Self {
        Self::new(Verb::Post, path, params, Handler::Now(handler))
    }

    pub(super) const fn put(path: &'static str, params: &'static [Param], handler: Now) -> Self {
        Self::new(Verb::Put, path, params, Handler::Now(handler))
    }

    pub(super) const fn delete(path: &'static str, params: &'static [Param], handler: Now) -> Self {
        Self::new(Verb::Delete, path, params, Handler::Now(handler))
    }

    /// As the route, with a handler that waits.
    pub(super) const fn later(self, handler: Later) -> Self {
        Self { handler: Handler::Later(handler), ..self }
    }

    /// More parameters.
    pub(super) const fn with(self, more: &'static [Param]) -> Self {
        Self { more, ..self }
    }

    /// Only for callers that a check lets through.
    pub(super) const fn checked(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }

    /// Without a login.
    pub(super) const fn open(self) -> Self {
        Self { open: true, ..self }
    }

    /// Not for API tokens.
    pub(super) const fn tickets_only(self) -> Self {
        Self { tickets_only: true, ..self }
    }

    /// The parts of a path by their names; none if the path is not this route's.
    fn matches(&self, path: &str) -> Option<BTreeMap<&'static str, String>> {
        let mut found = BTreeMap::new();
        let mut pattern = self.path.split('/').peekable();
        let mut given = path.split('/');
        while let Some(part) = pattern.next() {
            let name = part.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            let value = given.next()?;
            match name {
                None if part == value => {}
                None => return None,
                Some(name) => {
                    let mut value = value.to_owned();
                    // A volume's name may hold slashes, which need not be escaped.
                    if name == "volume" && pattern.peek().is_none() {
                        for rest in given.by_ref() {
                            value = format!("{value}/{rest}");
                        }
                    }
                    found.insert(name, decoded(&value)?);
                }
            }
        }
        given.next().is_none().then_some(found)
    }
}

fn decoded(part: &str) -> Option<String> {
    let escaped = part.replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
    let (value, _) = form_urlencoded::parse(escaped.as_bytes()).next()?;
    (!value.is_empty()).then(|| value.into_owned())
}

/// Endpoints without a login.
const OPEN: &[Route] = &[
    Route::get("/access/domains", &[], access::login::domains).open(),
    Route::post("/access/ticket", access::login::TICKET, Proxmox::log_in).open().tickets_only(),
];

fn find(method: &Method, path: &str) -> Option<(&'static Route, BTreeMap<&'static str, String>)> {
    let tables: [&'static [Route]; 11] = [
        OPEN,
        access::roles::ROUTES,
        access::users::ROUTES,
        access::tokens::ROUTES,
        access::lists::ROUTES,
        cluster::ROUTES,
        network::ROUTES,
        storage::ROUTES,
        content::ROUTES,
        task::ROUTES,
        qemu::ROUTES,
    ];
    let mut routes = tables.into_iter().flatten().filter(|route| route.method.is(method));
    routes.find_map(|route| Some((route, route.matches(path)?)))
}

impl Proxmox {
    /// Answers one HTTP request.
    pub(super) async fn answer(self, request: HttpRequest<Body>) -> Response {
        let answer = self.clone().call(request).await;
        if matches!(answer, Err(Refused::Login(_))) {
            // The real server makes guessing slow.
            self.world().clock().sleep(super::LOGIN_DELAY).await;
        }
        reply::response(answer)
    }

    async fn call(self, request: HttpRequest<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
        let unknown =
            || Refused::Protocol(501, format!("Method '{method} {}' not implemented", uri.path()));
        let path = uri.path().strip_prefix(API).ok_or_else(unknown)?;
        refuse_transfer(&method, &headers)?;
        let found = find(&method, path);
        let open = found.as_ref().is_some_and(|(route, _)| route.open);
        let upload = path.ends_with("/upload");
        let caller = if open {
            Caller { user: String::new(), token: None }
        } else {
            self.authenticate(&headers, method != Method::GET && !upload)?
        };
        let (route, path) = found.ok_or_else(unknown)?;
        let query = Params::form(uri.query().unwrap_or_default());
        if content::is_upload(route.path) {
            let request = Request { caller, params: query, path };
            return content::upload(self, request, &headers, body).await;
        }
        let params = read_body(&headers, body).await?.under(query).with_path(&path)?;
        if route.tickets_only && headers.contains_key(header::AUTHORIZATION) {
            let shown = uri.path().strip_prefix(API).unwrap_or_default();
            return Err(Refused::Forbidden(format!(
                "Permission check failed (URI '{shown}' not available with API token, need proper ticket.)"
            )));
        }
        self.dispatch(route, Request { caller, params, path }).await
    }

    async fn dispatch(self, route: &Route, request: Request) -> Answer {
        if let Some(check) = route.check {
            check(&self, &request)?;
        }
        if let Some(node) =
            request.path.get("node").filter(|node| *node != HOST && *node != "localhost")
        {
            return Err(Refused::Died(format!(
                "hostname lookup '{node}' failed - failed to get address info for: {node}: \
                 Name or service not known"
            )));
        }
        let path: Vec<Param> =
            PATH.iter().filter(|param| request.path.contains_key(param.name())).copied().collect();
        request.params.check(&[route.params, route.more, &path])?;
        match route.handler {
            Handler::Now(handler) => handler(&self, &request),
            Handler::Later(handler) => handler(self, request).await,
        }
    }
}

/// The parameters that paths hold.
const PATH: &[Param] = &[
    Param::text("node", 64),
    Param::integer("vmid", 100, 999_999_999),
    Param::text("storage", 64),
    Param::text("volume", 1024),
    Param::text("upid", 256),
    Param::text("userid", 64),
    Param::text("tokenid", 64),
    Param::text("roleid", 64),
    Param::text("iface", 20),
];

/// Refuses what the HTTP server itself does.
fn refuse_transfer(method: &Method, headers: &HeaderMap) -> Result<(), Refused> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        let text = "chunked transfer encoding not supported";
        return Err(Refused::Protocol(501, text.to_owned()));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
    if length > 0 && (method == Method::GET || method == Method::DELETE) {
        return Err(Refused::Protocol(501, format!("Unexpected content for method '{method}'")));
    }
    let multipart = content_type(headers).starts_with("multipart/form-data");
    if length > BODY && !multipart {
        return Err(Refused::Protocol(501, "for data too large".to_owned()));
    }
    Ok(())
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Params, Refused> {
    let content = content_type(headers).to_owned();
    let body = to_bytes(body, BODY).await.map_err(|error| Refused::Died(error.to_string()))?;
    if body.is_empty() {
        return Ok(Params::default());
    }
    let media = content.split(';').next().unwrap_or_default().trim();
    match media {
        "" | "application/x-www-form-urlencoded" => {
            Ok(Params::form(&String::from_utf8_lossy(&body)))
        }
        "application/json" => Params::json(&body),
        _ => {
            Err(Refused::Protocol(506, format!("upload 'Content-Type '{content}' not implemented")))
        }
    }
}
