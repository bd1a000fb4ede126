//! Requests that only ask: may I, who am I.

use std::sync::Arc;

use axum::{body::Bytes, response::Response};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    authentication::User,
    authorization::{Wish, permits},
    json::{at, list, text},
    protobuf,
    refusal::Refusal,
    render::answer,
    request::parse_body,
    route::{Asked, body_type},
    server::Api,
};

/// Answers a review.
pub(crate) fn review(api: &Arc<Api>, asked: &Asked, body: &Bytes) -> Result<Response, Refusal> {
    if asked.method != hyper::Method::POST {
        return Err(Refusal::method_not_allowed());
    }
    let mut review = if body_type(asked) == protobuf::MEDIA_TYPE {
        let accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
        protobuf::decode(body).ok_or_else(|| Refusal::unsupported_body(accepted))?
    } else {
        parse_body(body, &asked.kind.kind, true)?
    };
    review["kind"] = json!(asked.kind.kind);
    review["apiVersion"] = json!(asked.kind.api_version());
    review["metadata"] = json!({});
    match asked.kind.plural.as_str() {
        "selfsubjectreviews" => {
            review["status"] =
                json!({ "userInfo": { "username": asked.user.name, "groups": asked.user.groups } });
        }
        "selfsubjectaccessreviews" => review["status"] = decide(api, &asked.user, &review),
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            let groups = list(&review, "/spec/groups")
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            let user = User { name: text(&review, "/spec/user").to_owned(), groups };
            review["status"] = decide(api, &user, &review);
        }
        "tokenreviews" => review["status"] = json!({ "authenticated": false, "user": {} }),
        _ => return Err(Refusal::no_such_resource()),
    }
    Ok(answer(StatusCode::CREATED, "application/json", review.to_string()))
}

fn decide(api: &Api, user: &User, review: &Value) -> Value {
    let of = at(review, "/spec/resourceAttributes");
    let full = match text(of, "/subresource") {
        "" => text(of, "/resource").to_owned(),
        sub => format!("{}/{sub}", text(of, "/resource")),
    };
    let path = at(review, "/spec/nonResourceAttributes");
    let wish = if path.is_object() {
        Wish::Path { verb: text(path, "/verb"), path: text(path, "/path") }
    } else {
        Wish::Resource {
            verb: text(of, "/verb"),
            group: text(of, "/group"),
            resource: &full,
            namespace: text(of, "/namespace"),
            name: text(of, "/name"),
        }
    };
    json!({ "allowed": api.cluster().read(|objects| permits(objects, user, wish)) })
}
