//! A gRPC client that sees TLS as `talosctl` does.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, Response, Uri};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tonic::body::Body;

use crate::{
    pki::provider,
    talos::wire::{
        cosi::resource::state_client::StateClient,
        machine::machine_service_client::MachineServiceClient,
        storage::storage_service_client::StorageServiceClient,
    },
};

const DEADLINE: Duration = Duration::from_secs(5);

/// A connection; dropped, it is closed.
pub(super) struct Connection {
    send: SendRequest<Body>,
    authority: SocketAddr,
    pub(super) server: Vec<CertificateDer<'static>>,
    _driver: JoinSet<()>,
}

/// A service on a connection.
#[derive(Clone)]
pub(super) struct Channel(SendRequest<Body>, SocketAddr);

impl Connection {
    /// Connects without knowing the server and without a certificate.
    pub(super) async fn insecure(at: SocketAddr) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        Self::open(at, config).await
    }

    /// Connects with mTLS.
    pub(super) async fn mutual(
        at: SocketAddr,
        authority: CertificateDer<'static>,
        (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add(authority).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .unwrap();
        Self::open(at, config).await
    }

    async fn open(at: SocketAddr, mut config: ClientConfig) -> Result<Self, String> {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connect = async {
            let stream = tokio::net::TcpStream::connect(at).await.map_err(|e| e.to_string())?;
            let name = ServerName::IpAddress(at.ip().into());
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .map_err(|e| e.to_string())?;
            let server = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
            let (send, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .map_err(|e| e.to_string())?;
            let mut driver = JoinSet::new();
            driver.spawn(async move {
                let _ = connection.await;
            });
            Ok(Self { send, authority: at, server, _driver: driver })
        };
        tokio::time::timeout(DEADLINE, connect).await.map_err(|e| e.to_string())?
    }

    /// The body of a GET request's answer.
    pub(super) async fn get(&self, path: &str) -> Option<Vec<u8>> {
        use http_body_util::BodyExt as _;
        use tower_service::Service as _;
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.channel().call(request).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        Some(response.into_body().collect().await.ok()?.to_bytes().to_vec())
    }

    fn channel(&self) -> Channel {
        Channel(self.send.clone(), self.authority)
    }

    pub(super) fn machine(&self) -> MachineServiceClient<Channel> {
        MachineServiceClient::new(self.channel())
    }

    pub(super) fn state(&self) -> StateClient<Channel> {
        StateClient::new(self.channel())
    }

    pub(super) fn storage(&self) -> StorageServiceClient<Channel> {
        StorageServiceClient::new(self.channel())
    }
}

impl tower_service::Service<Request<Body>> for Channel {
    type Response = Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        *request.uri_mut() = Uri::builder()
            .scheme("https")
            .authority(self.1.to_string())
            .path_and_query(path)
            .build()
            .unwrap();
        Box::pin(self.0.send_request(request))
    }
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
