use axum::routing::{get, post};

use super::*;
use crate::world::tests_support::Scratch;

struct Client {
    http: reqwest::Client,
    base: String,
}

async fn serving(scratch: &Scratch, app: Router) -> (Server, Client) {
    let at = SocketAddr::new(scratch.world.address().at(0, 99), 0);
    // A free port: the scratch world has no octet of its own.
    let socket = std::net::TcpListener::bind((at.ip(), 0)).unwrap();
    let at = socket.local_addr().unwrap();
    drop(socket);
    let tls = scratch.world.pki().server(&["test"], &[at.ip()], &[b"h2", b"http/1.1"]).unwrap();
    let listener =
        Listener { world: scratch.world.clone(), at, system: System::Git, machine: None };
    let server = listener.serve(Arc::new(move || Arc::clone(&tls)), app).await.unwrap();
    let client = Client { http: scratch.client(), base: format!("https://{at}") };
    (server, client)
}

fn app() -> Router {
    Router::new()
        .route("/hello", get(async || "hello"))
        .route("/write", post(async || "written"))
        .route(
            "/look",
            post(async || {
                let mut response = Response::new(Body::from("looked"));
                response.extensions_mut().insert(ChangedNothing);
                response
            }),
        )
}

#[tokio::test]
async fn calls_are_served_and_logged() {
    let scratch = Scratch::new();
    let (_server, client) = serving(&scratch, app()).await;
    let text = client.http.get(format!("{}/hello?a=b", client.base)).send().await.unwrap();
    assert_eq!(text.version(), reqwest::Version::HTTP_2);
    assert_eq!(text.text().await.unwrap(), "hello");
    client.http.post(format!("{}/write", client.base)).send().await.unwrap();
    client.http.post(format!("{}/look", client.base)).send().await.unwrap();
    let calls = scratch.world.calls().list();
    let seen: Vec<_> = calls.iter().map(|c| (c.name.as_str(), c.write, c.status)).collect();
    assert_eq!(
        seen,
        [
            ("GET /hello", false, Some(200)),
            ("POST /write", true, Some(200)),
            ("POST /look", false, Some(200))
        ]
    );
}

#[tokio::test]
async fn faults_happen_to_calls() {
    let scratch = Scratch::new();
    let (_server, client) = serving(&scratch, app()).await;
    let inject = |fault: &str| scratch.world.faults().add(fault.parse().unwrap());
    let post = async || client.http.post(format!("{}/write", client.base)).send().await;

    inject("git:POST /write:5xx");
    assert_eq!(post().await.unwrap().status(), 503);
    inject("git:POST /write:reset");
    assert!(post().await.is_err());
    inject("git:POST /write:reply-lost");
    assert!(post().await.is_err());
    inject("git:POST /write:malformed");
    assert!(post().await.unwrap().text().await.unwrap().starts_with('{'));
    inject("git:POST /write:slow=0.001s");
    assert_eq!(post().await.unwrap().text().await.unwrap(), "written");
    inject("git:POST /write:hang");
    let hanging = client.http.post(format!("{}/write", client.base));
    assert!(hanging.timeout(Duration::from_millis(50)).send().await.unwrap_err().is_timeout());

    let calls = scratch.world.calls().list();
    let seen: Vec<_> =
        calls.iter().map(|c| (c.injected.as_deref().unwrap_or(""), c.status)).collect();
    assert_eq!(
        seen,
        [
            ("5xx", None),
            ("reset", None),
            ("reply-lost", Some(200)),
            ("malformed", Some(200)),
            ("slow=0.001s", Some(200)),
            ("hang", None)
        ]
    );
}

#[tokio::test]
async fn a_dropped_server_leaves_its_address() {
    let scratch = Scratch::new();
    let (server, client) = serving(&scratch, app()).await;
    let at: SocketAddr = client.base.trim_start_matches("https://").parse().unwrap();
    client.http.get(format!("{}/hello", client.base)).send().await.unwrap();
    drop(server);
    assert!(bind(at).await.is_ok());
    assert!(client.http.get(format!("{}/hello", client.base)).send().await.is_err());
}
