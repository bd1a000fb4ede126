use std::io::Cursor;

use super::*;
use crate::{
    Lab, Options, http,
    image::{Image, qcow2},
};

struct Drawn {
    lab: Lab,
    client: reqwest::Client,
    base: String,
    _folder: tempfile::TempDir,
}

fn drawn() -> Drawn {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::draw(Options { speed: 10_000.0, ..Options::new(folder.path()) }).unwrap();
    let authority = std::fs::read_to_string(folder.path().join("ca.pem")).unwrap();
    let client = http::client(&authority).unwrap();
    let base = format!("https://127.{}.0.40:8443", lab.octet());
    Drawn { lab, client, base, _folder: folder }
}

impl Drawn {
    async fn post(&self, schematic: &str) -> (StatusCode, String) {
        let request = self.client.post(format!("{}/schematics", self.base));
        let answer = request.body(schematic.to_owned()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap().to_vec())
    }
}

#[tokio::test]
async fn a_schematic_becomes_an_image_with_its_meta() {
    let drawn = drawn();
    let (status, body) = drawn.post("customization: {meta: [{key: 0xa, value: foo}]}").await;
    let id = "d308a2a5ee2277bed5fbaa104fcbc8d59122abfa737df987a95b4ca763459a7f";
    assert_eq!(status, 201);
    let posted: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(posted["id"], id);
    drawn.post("customization: {meta: [{key: 0xa, value: foo}]}").await;
    let counts = drawn.lab.counts().unwrap();
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[0].times, 1);

    let (status, text) = drawn.get(&format!("/schematics/{id}")).await;
    assert_eq!((status.as_u16(), text), (200, posted["schematic"].as_str().unwrap().into()));

    let (status, packed) = drawn.get(&format!("/image/{id}/v1.13.4/metal-amd64.qcow2")).await;
    assert_eq!(status, 200);
    let mut disk = Cursor::new(Vec::new());
    qcow2::expand(&mut Cursor::new(packed), &mut disk).unwrap();
    let image = Image::read(disk).unwrap().unwrap();
    assert_eq!(image.version, "v1.13.4");
    assert_eq!(image.schematic, id);
    assert_eq!(image.meta[&10], b"foo");
    assert_eq!(image.meta[&17], b"dual-boot");
}

#[tokio::test]
async fn what_cannot_be_built_says_why() {
    let drawn = drawn();
    let (status, _) = drawn.post("nonsense: 1").await;
    assert_eq!(status, 400);
    let (_, body) =
        drawn.post("customization: {systemExtensions: {officialExtensions: [a/b]}}").await;
    let posted: serde_json::Value = serde_json::from_str(&body).unwrap();
    let id = posted["id"].as_str().unwrap();
    let text =
        |(status, body): (StatusCode, Vec<u8>)| (status.as_u16(), String::from_utf8(body).unwrap());
    let path = format!("/image/{id}/v1.13.4/metal-amd64.qcow2");
    assert_eq!(
        text(drawn.get(&path).await),
        (400, "official extension \"a/b\" is not available for Talos version v1.13.4\n".into())
    );
    let path = format!("/image/{}/v1.13.4/metal-amd64.qcow2", "0".repeat(64));
    assert_eq!(text(drawn.get(&path).await), (404, "schematic not found\n".into()));
    let path = format!("/image/{id}/v9.9.9/metal-amd64.qcow2");
    assert_eq!(drawn.get(&path).await.0, 404);
    let path = format!("/image/{id}/v1.13.4/toaster-amd64.qcow2");
    assert_eq!(drawn.get(&path).await.0, 400);
}

#[tokio::test]
async fn a_download_goes_on_where_it_stopped() {
    let drawn = drawn();
    let (_, body) = drawn.post("customization: {}").await;
    let id = serde_json::from_str::<serde_json::Value>(&body).unwrap()["id"].to_string();
    let path = format!("/image/{}/1.13.4/metal-amd64.raw.zst", id.trim_matches('"'));
    let (_, whole) = drawn.get(&path).await;
    let url = format!("{}{path}", drawn.base);
    let rest = drawn.client.get(&url).header("range", "bytes=100-").send().await.unwrap();
    assert_eq!(rest.status(), 206);
    assert_eq!(rest.bytes().await.unwrap(), whole[100..]);
    let head = drawn.client.head(&url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], whole.len().to_string());
}

#[tokio::test]
async fn an_installer_has_a_manifest() {
    let drawn = drawn();
    let (_, body) = drawn.post("{}").await;
    let id = serde_json::from_str::<serde_json::Value>(&body).unwrap()["id"].to_string();
    let path = format!("/v2/metal-installer/{}/manifests/v1.13.4", id.trim_matches('"'));
    let head = drawn.client.head(format!("{}{path}", drawn.base)).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert!(head.headers().contains_key("docker-content-digest"));
}
