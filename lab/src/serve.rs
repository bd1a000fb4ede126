//! One listening server: TLS, HTTP/1 and HTTP/2, the call log, and faults around the app.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::{
    System,
    faults::Effect,
    world::{Arrived, World, locked},
};

mod describe;
mod garbage;

use describe::Description;

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long an address that a server has just left may stay taken.
const REBIND: Duration = Duration::from_secs(3);

/// Asked once per connection, so that a server's certificates may change while it listens.
pub(crate) type Tls = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// A request extension: who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The client's certificates, the leaf first; empty without mTLS.
    pub(crate) certificates: Arc<[CertificateDer<'static>]>,
}

/// A response extension: the call changed nothing and asked for no change, whatever its method.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChangedNothing;

/// What is needed to listen.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) world: World,
    pub(crate) at: SocketAddr,
    pub(crate) system: System,
    /// The machine that serves, for faults and the call log.
    pub(crate) machine: Option<String>,
}

/// A listening server. Dropping it closes the socket and aborts its connections.
#[derive(Debug)]
pub(crate) struct Server {
    _accepting: JoinSet<()>,
}

impl Listener {
    /// Listens when this returns, and serves until the server is dropped.
    pub(crate) async fn serve(self, tls: Tls, app: Router) -> io::Result<Server> {
        let socket = bind(self.at).await?;
        let shared = Arc::new(Serving {
            world: self.world,
            system: self.system,
            machine: self.machine,
            app,
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(socket, move |stream| {
            let (shared, config) = (Arc::clone(&shared), tls());
            async move { shared.connection(stream, config).await }
        }));
        Ok(Server { _accepting: accepting })
    }
}

/// Serves an app without TLS, call log and faults.
pub(crate) fn serve_plain(socket: TcpListener, app: Router) -> Server {
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(socket, move |stream| {
        let app = app.clone();
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let mut app = app.clone();
                async move { app.call(request).await }
            });
            let builder = auto::Builder::new(Streams::default());
            // A client that goes away ends its own connection only.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    }));
    Server { _accepting: accepting }
}

/// Binds an address. An address that is still being closed is waited for.
async fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let patience = tokio::time::Instant::now() + REBIND;
    loop {
        match TcpListener::bind(at).await {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && tokio::time::Instant::now() < patience =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return other,
        }
    }
}

/// Accepts connections for ever; dropped, it drops them.
async fn accept<F>(socket: TcpListener, connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream));
                }
                // Out of file descriptors: those in use come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Runs the streams of one HTTP/2 connection; dropped with it, it aborts them.
#[derive(Debug, Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut streams = locked(&self.0);
        while streams.try_join_next().is_some() {}
        streams.spawn(stream);
    }
}

/// A server's side of its connections.
struct Serving {
    world: World,
    system: System,
    machine: Option<String>,
    app: Router,
}

impl Serving {
    async fn connection(self: Arc<Self>, stream: TcpStream, config: Arc<ServerConfig>) {
        // Small replies must not wait for the client's acknowledgement; without it they are only late.
        let _ = stream.set_nodelay(true);
        let handshake = TlsAcceptor::from(config).accept(stream);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else { return };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificates = certificates.iter().map(|one| one.clone().into_owned()).collect();
        self.requests(stream, Peer { certificates }).await;
    }

    async fn requests<I>(self: Arc<Self>, stream: I, peer: Peer)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let abort = Arc::new(Notify::new());
        let service = service_fn({
            let abort = Arc::clone(&abort);
            move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer.clone());
                let (serving, abort) = (Arc::clone(&self), Arc::clone(&abort));
                async move { serving.request(request, &abort).await }
            }
        });
        let builder = auto::Builder::new(Streams::default());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::select! {
            // A client that goes away ends its own connection only.
            _ = connection => {}
            () = abort.notified() => {}
        }
    }

    async fn request(
        self: Arc<Self>,
        request: Request<Incoming>,
        abort: &Notify,
    ) -> Result<Response, Infallible> {
        let description = Description::of(self.system, &request);
        let effect = self.world.faults().take(&description.described(self.machine.as_deref()));
        let number = self.world.calls().begin(
            self.system,
            self.machine.as_deref(),
            Arrived {
                name: description.name(),
                write: description.is_write(),
                injected: effect.map(|effect| effect.to_string()),
            },
        );
        let response = match effect {
            Some(Effect::Reset) => aborted(abort).await,
            Some(Effect::Hang) => std::future::pending().await,
            Some(Effect::Unavailable) => garbage::unavailable(description.rpc().is_some()),
            Some(Effect::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                self.handle(request, number).await
            }
            Some(Effect::Malformed) => garbage::malformed(self.handle(request, number).await),
            Some(Effect::ReplyLost) => {
                drop(self.handle(request, number).await);
                aborted(abort).await
            }
            None => self.handle(request, number).await,
        };
        Ok(response)
    }

    async fn handle(&self, request: Request<Incoming>, number: usize) -> Response {
        let Ok(response) = self.app.clone().call(request.map(Body::new)).await;
        let nothing = response.extensions().get::<ChangedNothing>().is_some();
        self.world.calls().answered(number, response.status().as_u16(), nothing);
        response
    }
}

/// Ends the connection that this is awaited on.
async fn aborted(abort: &Notify) -> Response {
    abort.notify_one();
    std::future::pending().await
}

#[cfg(test)]
mod tests;
