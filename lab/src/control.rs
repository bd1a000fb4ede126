//! The control server: status, faults and calls of a running world, in plain HTTP on loopback.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};

use crate::{
    Call, Count, FaultError, Owner, StoreError, kubernetes::Kubernetes, proxmox::Proxmox,
    talos::Machines, world::World,
};

/// How long another process waits for an answer of the control server.
const PATIENCE: Duration = Duration::from_secs(5);

/// A world as it stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// Whether a process runs it.
    pub running: bool,
    /// Which one; none in the running process' own answer.
    pub owner: Option<Owner>,
    /// How many seconds pass in one real second; 0 while nothing runs.
    pub speed: f64,
    /// The VMs of the Proxmox host.
    pub vms: Vec<serde_json::Value>,
    /// The Talos machines that are switched on.
    pub machines: Vec<serde_json::Value>,
    /// The Kubernetes clusters.
    pub clusters: Vec<serde_json::Value>,
    /// What clients had written, and how often.
    pub counts: Vec<Count>,
    /// The faults in force.
    pub faults: Vec<String>,
}

/// What the control server looks at.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) world: World,
    pub(crate) proxmox: Proxmox,
    pub(crate) machines: Machines,
    pub(crate) kubernetes: Kubernetes,
}

impl Control {
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/status", get(status))
            .route("/calls", get(calls))
            .route("/faults", post(add_fault).delete(clear_faults))
            .with_state(self)
    }

    /// The world as it stands.
    pub(crate) fn status(&self) -> Result<Status, StoreError> {
        let faults = self.world.faults().list();
        Ok(Status {
            running: true,
            owner: None,
            speed: self.world.clock().speed(),
            vms: values(&self.proxmox.status()),
            machines: values(&self.machines.status()),
            clusters: values(&self.kubernetes.status()),
            counts: self.world.store().counts()?,
            faults: faults.iter().map(ToString::to_string).collect(),
        })
    }
}

fn values(rows: &[impl Serialize]) -> Vec<serde_json::Value> {
    rows.iter()
        .map(|row| serde_json::to_value(row).expect("a status row has string keys"))
        .collect()
}

async fn status(State(control): State<Control>) -> Result<Json<Status>, (StatusCode, String)> {
    let status = control.status();
    status.map(Json).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn calls(State(control): State<Control>) -> Json<Vec<Call>> {
    Json(control.world.calls().list())
}

async fn add_fault(
    State(control): State<Control>,
    text: String,
) -> Result<StatusCode, (StatusCode, String)> {
    let fault = text
        .trim()
        .parse()
        .map_err(|error: FaultError| (StatusCode::BAD_REQUEST, error.to_string()))?;
    control.world.faults().add(fault);
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_faults(State(control): State<Control>) -> StatusCode {
    control.world.faults().clear();
    StatusCode::NO_CONTENT
}

/// Asks the control server of another process for its world's status.
pub(crate) fn ask(at: SocketAddr) -> io::Result<Status> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET /status HTTP/1.0\r\nHost: {at}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .map(|end| &answer[end + 4..])
        .unwrap_or_default();
    serde_json::from_slice(body).map_err(io::Error::other)
}
