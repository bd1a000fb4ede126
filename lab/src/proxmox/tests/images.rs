use reqwest::multipart::{Form, Part};

use super::*;
use crate::image::qcow2;

/// Posts a schematic with a META value; the URL of its image.
pub(super) async fn image_url(host: &Host, meta: &str) -> String {
    let octet = host.lab().octet();
    let factory = format!("https://127.{octet}.0.40:8443");
    let schematic = json!({ "customization": { "meta": [{ "key": 10, "value": meta }],
        "systemExtensions": { "officialExtensions": ["siderolabs/qemu-guest-agent"] } } });
    let request = host.http.post(format!("{factory}/schematics")).body(schematic.to_string());
    let posted: Value = request.send().await.unwrap().json().await.unwrap();
    format!("{factory}/image/{}/v1.13.4/metal-amd64.qcow2", posted["id"].as_str().unwrap())
}

/// Lets the host download an image.
pub(super) async fn download(host: &Host, name: &str, meta: &str) -> String {
    let url = image_url(host, meta).await;
    let form = [("url", url.as_str()), ("content", "import"), ("filename", name)];
    host.task(Method::POST, "/nodes/lab-pve/storage/local/download-url", &form).await
}

#[tokio::test]
async fn the_host_downloads_from_the_factory() {
    let host = Host::new().await;
    assert_eq!(download(&host, "talos.qcow2", "{}").await, "OK");
    let listed = host.get("/nodes/lab-pve/storage/local/content?content=import").await;
    assert_eq!(listed[0]["volid"], "local:import/talos.qcow2");
    assert_eq!(listed[0]["format"], "qcow2");
    let again = download(&host, "talos.qcow2", "{}").await;
    assert!(again.starts_with("refusing to override existing file"), "{again}");
    assert_eq!(host.times("local:import/talos.qcow2", "download"), 1);
    let url = image_url(&host, "{}").await;
    let metadata =
        host.call(Method::GET, &format!("/nodes/lab-pve/query-url-metadata?url={url}"), &[]).await;
    assert_eq!(metadata["size"], listed[0]["size"]);

    let path = "/nodes/lab-pve/storage/local/content/local%3Aimport%2Ftalos.qcow2";
    assert_eq!(host.task(Method::DELETE, path, &[]).await, "OK");
    assert_eq!(host.get("/nodes/lab-pve/storage/local/content").await, json!([]));
}

#[tokio::test]
async fn what_cannot_be_downloaded_says_why() {
    let host = Host::new().await;
    let path = "/nodes/lab-pve/storage/local/download-url";
    let url = image_url(&host, "{}").await;
    let form = |name| [("url", url.as_str()), ("content", "import"), ("filename", name)];
    let wrong = host.refused(Method::POST, path, &form("talos.img")).await;
    assert_eq!(wrong.body["errors"]["filename"], "invalid filename or wrong extension\n");
    let zfs = "/nodes/lab-pve/storage/local-zfs/download-url";
    let refused = host.refused(Method::POST, zfs, &form("talos.qcow2")).await;
    assert_eq!(refused, died("can't upload to storage type 'zfspool'"));
    let outside =
        [("url", "https://example.com/a.qcow2"), ("content", "import"), ("filename", "a.qcow2")];
    assert_eq!(
        host.task(Method::POST, path, &outside).await,
        "download failed: example.com: Name or service not known"
    );
    let sum =
        [&form("b.qcow2")[..], &[("checksum", "00"), ("checksum-algorithm", "sha256")]].concat();
    let exit = host.task(Method::POST, path, &sum).await;
    assert!(exit.starts_with("checksum mismatch: got '"), "{exit}");
    host.lab().faults().add("factory:GET /image/*:5xx".parse().unwrap());
    let exit = host.task(Method::POST, path, &form("b.qcow2")).await;
    assert!(exit.contains("503"), "{exit}");
    assert_eq!(host.get("/nodes/lab-pve/storage/local/content").await, json!([]));

    host.call(Method::PUT, "/storage/local", &[("content", "iso,vztmpl,backup")]).await;
    let refused = host.refused(Method::POST, path, &form("b.qcow2")).await;
    assert_eq!(refused, died("storage 'local' does not support 'import' content"));
}

#[tokio::test]
async fn an_upload_has_its_file_last() {
    let host = Host::new().await;
    let path = "/nodes/lab-pve/storage/local/upload";
    let file = || {
        let bytes = qcow2::pack(&vec![0; 1 << 20]);
        Part::bytes(bytes).file_name("up.qcow2").mime_str("application/octet-stream").unwrap()
    };
    let right = Form::new().text("content", "import").part("filename", file());
    let upid = seen(host.request(Method::POST, path).multipart(right)).await;
    assert_eq!(upid.status, 200, "{upid:?}");
    assert_eq!(host.ended(upid.body["data"].as_str().unwrap()).await, "OK");
    assert_eq!(host.times("local:import/up.qcow2", "upload"), 1);
    let wrong = Form::new().part("filename", file()).text("content", "import");
    let refused = seen(host.request(Method::POST, path).multipart(wrong)).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.body["errors"]["content"], "property is missing and it is not optional\n");
}
