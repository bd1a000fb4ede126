//! COSI's state service: reading the machine's resources.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{Api, Replies, access, kinds, resources};
use crate::talos::wire::cosi::resource::{
    Event, EventType, GetRequest, GetResponse, IdQuery, LabelQuery, ListRequest, ListResponse,
    Metadata, Resource, WatchRequest, WatchResponse, state_server::State,
};

#[tonic::async_trait]
impl State for Api {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let roles = access::roles(&request);
        let GetRequest { namespace, r#type, id, options: _ } = request.into_inner();
        let kind = readable(&roles, &namespace, &r#type)?;
        let found = self.resources(&namespace, kind);
        match found.into_iter().find(|one| name(one) == id) {
            Some(resource) => Ok(Response::new(GetResponse { resource: Some(resource) })),
            None => Err(Status::not_found(format!(
                "resource {type}({namespace}/{id}@undefined) doesn't exist"
            ))),
        }
    }

    type ListStream = Replies<ListResponse>;

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let roles = access::roles(&request);
        let ListRequest { namespace, r#type, options } = request.into_inner();
        let kind = readable(&roles, &namespace, &r#type)?;
        let options = options.unwrap_or_default();
        let found = self
            .resources(&namespace, kind)
            .into_iter()
            .filter(|one| wanted(one, options.id_query.as_ref(), &options.label_query))
            .map(|resource| ListResponse { resource: Some(resource) })
            .collect();
        Ok(Response::new(super::replies(found)))
    }

    type WatchStream = Replies<WatchResponse>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let roles = access::roles(&request);
        let request = request.into_inner();
        let kind = readable(&roles, &request.namespace, &request.r#type)?;
        let watching = Watching {
            api: self.clone(),
            kind,
            turns: self.rack.turns(),
            known: None,
            waiting: vec![WatchResponse::default()],
            request,
        };
        let events = futures_util::stream::unfold(watching, Watching::next);
        Ok(Response::new(events.map(Ok).boxed()))
    }
}

impl Api {
    fn resources(&self, namespace: &str, kind: &'static kinds::Kind) -> Vec<Resource> {
        self.rack.look_mut(|fleet| resources::list(fleet, self.vmid, (namespace, kind)))
    }
}

/// The type, if the caller may read it.
fn readable(
    roles: &access::Roles,
    namespace: &str,
    kind: &str,
) -> Result<&'static kinds::Kind, Status> {
    let known = kinds::known(kind).ok_or_else(|| {
        Status::permission_denied(format!("resource type \"{kind}\" is not supported"))
    })?;
    if known.sensitive && !roles.has(access::ADMIN) {
        return Err(Status::permission_denied("not authorized"));
    }
    if !kinds::has_namespace(namespace) {
        return Err(Status::permission_denied(format!(
            "namespace \"{namespace}\" is not supported"
        )));
    }
    Ok(known)
}

fn name(resource: &Resource) -> &str {
    resource.metadata.as_ref().map_or("", |metadata| metadata.id.as_str())
}

/// Whether a resource is asked for. The lab's resources have no labels, and ids are compared whole.
fn wanted(resource: &Resource, id: Option<&IdQuery>, labels: &[LabelQuery]) -> bool {
    let pattern = id.map_or("", |query| query.regexp.as_str());
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
    let id_fits = pattern.is_empty() || name(resource) == pattern;
    let labels_fit =
        labels.is_empty() || labels.iter().any(|query| query.terms.iter().all(|term| term.invert));
    id_fits && labels_fit
}

/// One watch.
struct Watching {
    api: Api,
    kind: &'static kinds::Kind,
    turns: watch::Receiver<()>,
    /// What the client knows; none before the first look.
    known: Option<BTreeMap<String, Resource>>,
    /// What was not sent yet, the next last.
    waiting: Vec<WatchResponse>,
    request: WatchRequest,
}

impl Watching {
    async fn next(mut self) -> Option<(WatchResponse, Self)> {
        loop {
            if let Some(response) = self.waiting.pop() {
                return Some((response, self));
            }
            if self.known.is_some() && self.turns.changed().await.is_err() {
                return None;
            }
            self.turns.mark_unchanged();
            let mut events = self.look();
            events.reverse();
            self.waiting =
                events.into_iter().map(|event| WatchResponse { event: vec![event] }).collect();
        }
    }

    /// What has happened since the last look.
    fn look(&mut self) -> Vec<Event> {
        let request = &self.request;
        let options = request.options.clone().unwrap_or_default();
        let found: BTreeMap<String, Resource> = self
            .api
            .resources(&request.namespace, self.kind)
            .into_iter()
            .filter(|one| wanted(one, options.id_query.as_ref(), &options.label_query))
            .filter(|one| request.id.as_ref().is_none_or(|id| name(one) == id))
            .map(|one| (name(&one).to_owned(), one))
            .collect();
        let Some(known) = self.known.replace(found.clone()) else {
            return self.first(found, options.bootstrap_contents);
        };
        let mut events = Vec::new();
        for (id, resource) in &found {
            match known.get(id) {
                None => events.push(event(EventType::Created, resource.clone(), None)),
                Some(old) if !resources::same(old, resource) => {
                    events.push(event(EventType::Updated, resource.clone(), Some(old.clone())));
                }
                Some(_) => {}
            }
        }
        for (_, gone) in known.into_iter().filter(|(id, _)| !found.contains_key(id)) {
            events.push(event(EventType::Destroyed, gone, None));
        }
        events
    }

    /// What a watch begins with.
    fn first(&self, found: BTreeMap<String, Resource>, contents: bool) -> Vec<Event> {
        let one = self.request.id.clone();
        if let Some(id) = one.filter(|_| found.is_empty()) {
            let metadata = Metadata {
                namespace: self.request.namespace.clone(),
                r#type: self.request.r#type.clone(),
                id,
                phase: "running".to_owned(),
                ..Metadata::default()
            };
            let tombstone = Resource { metadata: Some(metadata), spec: None };
            return vec![event(EventType::Destroyed, tombstone, None)];
        }
        let mut events = Vec::new();
        if contents || self.request.id.is_some() {
            let all = found.into_values();
            events.extend(all.map(|resource| event(EventType::Created, resource, None)));
        }
        if contents && self.request.api_version >= 1 {
            events
                .push(Event { event_type: i32::from(EventType::Bootstrapped), ..Event::default() });
        }
        events
    }
}

fn event(kind: EventType, resource: Resource, old: Option<Resource>) -> Event {
    Event { resource: Some(resource), event_type: i32::from(kind), old, ..Event::default() }
}
