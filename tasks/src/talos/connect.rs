//! The connection to a machine: TCP and TLS, before any call.
//!
//! It is made before tonic sees it, so that what goes wrong here keeps its type: nothing was asked
//! yet, and who answers is known.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::bundle::{BadBundle, Bundle};
use super::certificates::{self, Subject};
use super::failure::{CallError, Machine};
use crate::tls;

/// How long the certificate lives that flow shows to machines. Made anew for each task.
const VISIT: time::Duration = time::Duration::hours(12);

/// What proves us to the machines of a cluster, and them to us.
#[derive(Clone)]
pub(super) struct Identity(Arc<ClientConfig>);

impl Identity {
    /// Makes a certificate of an administrator from the cluster's secrets.
    pub(super) fn new(bundle: &Bundle) -> Result<Self, BadBundle> {
        let unreadable = || BadBundle::Part { part: "certs.os" };
        let (authority, key) = bundle.certs.os.pem("certs.os")?;
        let subject = Subject { name: None, organisation: "os:admin" };
        let now = OffsetDateTime::now_utc();
        let us = certificates::client((&authority, &key), &subject, VISIT, now)?;
        let mut roots = RootCertStore::empty();
        for certificate in tls::certificates(&authority).map_err(|_| unreadable())? {
            roots.add(certificate).map_err(|_| unreadable())?;
        }
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|_| unreadable())?
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![us.der],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(us.key_der)),
            )
            .map_err(|_| unreadable())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// An established connection.
pub(super) struct Connection {
    /// What tonic speaks over.
    pub(super) stream: Stream,
    /// What TLS says later.
    pub(super) alert: Alert,
}

/// Connects to a machine that has a configuration, which proves itself by our authority.
pub(super) async fn secure(
    machine: &Machine,
    identity: &Identity,
    deadline: Duration,
) -> Result<Connection, CallError> {
    establish(machine, Arc::clone(&identity.0), deadline).await
}

/// Connects to a machine without a configuration: it cannot prove itself, nor ask us to.
///
/// The connection is the pin: whoever answered the first call on it answers all others.
///
/// # Errors
///
/// [`CallError::Configured`] when it asks for a client certificate.
pub(super) async fn maintenance(
    machine: &Machine,
    deadline: Duration,
) -> Result<Connection, CallError> {
    let asked = Arc::new(Asked::default());
    let provider = tls::provider();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| CallError::Foreign { machine: machine.clone(), source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody { provider }))
        .with_client_cert_resolver(Arc::<Asked>::clone(&asked));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connection = establish(machine, Arc::new(config), deadline).await;
    if asked.0.load(Ordering::Relaxed) {
        return Err(CallError::Configured { machine: machine.clone() });
    }
    connection
}

async fn establish(
    machine: &Machine,
    config: Arc<ClientConfig>,
    deadline: Duration,
) -> Result<Connection, CallError> {
    let silent = |source| CallError::Unreachable { machine: machine.clone(), source };
    let tcp = tokio::time::timeout(deadline, TcpStream::connect(machine.address))
        .await
        .map_err(|late| silent(late.into()))?
        .map_err(silent)?;
    tcp.set_nodelay(true).map_err(silent)?;
    let name = ServerName::IpAddress(machine.address.ip().into());
    let handshake = TlsConnector::from(config).connect(name, tcp);
    let stream = tokio::time::timeout(deadline, handshake)
        .await
        .map_err(|late| interrupted(machine, late.into()))?
        .map_err(|error| handshake_failed(machine, error))?;
    let alert = Alert::default();
    Ok(Connection { stream: Stream { inner: stream, alert: alert.clone() }, alert })
}

fn interrupted(machine: &Machine, source: io::Error) -> CallError {
    CallError::Interrupted {
        machine: machine.clone(),
        call: "the TLS handshake",
        source: Box::new(source),
    }
}

fn handshake_failed(machine: &Machine, error: io::Error) -> CallError {
    match tls_error(&error) {
        Some(source @ rustls::Error::InvalidCertificate(_)) => {
            CallError::Foreign { machine: machine.clone(), source: source.clone() }
        }
        Some(source @ rustls::Error::AlertReceived(alert)) if refuses_client(*alert) => {
            CallError::Unauthorised {
                machine: machine.clone(),
                call: "the TLS handshake",
                source: Box::new(source.clone()),
            }
        }
        Some(_) | None => interrupted(machine, error),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether an alert means that the other side does not accept our certificate.
fn refuses_client(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

/// With TLS 1.3, a server refuses our certificate only after the handshake: what it said then.
#[derive(Debug, Clone, Default)]
pub(super) struct Alert(Arc<OnceLock<rustls::Error>>);

impl Alert {
    /// Why our certificate was refused, if it was.
    pub(super) fn refusal(&self) -> Option<rustls::Error> {
        self.0.get().cloned()
    }

    fn note(&self, error: &io::Error) {
        if let Some(source @ rustls::Error::AlertReceived(alert)) = tls_error(error)
            && refuses_client(*alert)
        {
            // Only the first is of interest; h2 repeats it.
            self.0.get_or_init(|| source.clone());
        }
    }
}

/// A TLS stream that remembers a refusal, which h2 would turn into mere words.
pub(super) struct Stream {
    inner: TlsStream<TcpStream>,
    alert: Alert,
}

impl Stream {
    fn noting<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &poll {
            self.alert.note(error);
        }
        poll
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.noting(poll)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.noting(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_flush(cx);
        self.noting(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.noting(poll)
    }
}

/// Hands an established connection to tonic, once: a new one might end elsewhere.
#[derive(Clone)]
pub(super) struct Established(Arc<Mutex<Option<Stream>>>);

impl Established {
    /// Takes the connection.
    pub(super) fn new(stream: Stream) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }
}

impl tonic::codegen::Service<tonic::codegen::http::Uri> for Established {
    type Response = hyper_util::rt::TokioIo<Stream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::codegen::http::Uri) -> Self::Future {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection is lost");
        std::future::ready(stream.map(hyper_util::rt::TokioIo::new).ok_or_else(gone))
    }
}

/// Notes that a server wants a client certificate, and gives none.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Takes any certificate whose key the server really has.
#[derive(Debug)]
struct Anybody {
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
