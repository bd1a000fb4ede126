//! A machine's own network, as META key 10 of its image holds it.
//!
//! Talos on the platform `metal` reads it at boot, before it has any configuration, so the machine
//! answers at its planned address from the first moment. Its keys are those of
//! `PlatformNetworkConfig`; what is left out there means "unspecified", not a default.

use serde::Serialize;

/// The layer that Talos puts all of it in.
const LAYER: &str = "platform";

/// Where a machine is in its network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Its host name.
    pub(super) name: &'a str,
    /// Its address with the prefix length.
    pub(super) cidr: &'a str,
    /// Its network card.
    pub(super) link: &'a str,
    pub(super) gateway: &'a str,
    pub(super) nameservers: &'a [String],
    pub(super) ntp: &'a [String],
}

/// The order of fields is part of the image's id, so it stays.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    addresses: [Address<'a>; 1],
    links: [Link<'a>; 1],
    routes: [Route<'a>; 1],
    hostnames: [Hostname<'a>; 1],
    resolvers: [Resolver<'a>; 1],
    time_servers: [TimeServer<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Address<'a> {
    #[serde(rename = "address")]
    cidr: &'a str,
    link_name: &'a str,
    family: &'a str,
    scope: &'static str,
    flags: &'static str,
    layer: &'static str,
}

#[derive(Serialize)]
struct Link<'a> {
    name: &'a str,
    up: bool,
    layer: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Route<'a> {
    family: &'a str,
    gateway: &'a str,
    out_link_name: &'a str,
    table: &'static str,
    priority: u32,
    scope: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    protocol: &'static str,
    layer: &'static str,
}

#[derive(Serialize)]
struct Hostname<'a> {
    hostname: &'a str,
    layer: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resolver<'a> {
    dns_servers: &'a [String],
    layer: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimeServer<'a> {
    time_servers: &'a [String],
    layer: &'static str,
}

impl Place<'_> {
    /// One line of JSON.
    pub(super) fn json(self) -> String {
        let Self { name, cidr, link, gateway, nameservers, ntp } = self;
        let family = if gateway.contains(':') { "inet6" } else { "inet4" };
        let document = Document {
            addresses: [Address {
                cidr,
                link_name: link,
                family,
                scope: "global",
                flags: "permanent",
                layer: LAYER,
            }],
            links: [Link { name: link, up: true, layer: LAYER }],
            routes: [Route {
                family,
                gateway,
                out_link_name: link,
                table: "main",
                priority: 1024,
                scope: "global",
                kind: "unicast",
                protocol: "static",
                layer: LAYER,
            }],
            hostnames: [Hostname { hostname: name, layer: LAYER }],
            resolvers: [Resolver { dns_servers: nameservers, layer: LAYER }],
            time_servers: [TimeServer { time_servers: ntp, layer: LAYER }],
        };
        serde_json::to_string(&document).expect("texts and numbers are always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden text: another one would bake all images anew.
    #[test]
    fn a_network_is_written_in_one_line() {
        let (nameservers, ntp) = (["10.2.0.1".to_owned()], ["time.cloudflare.com".to_owned()]);
        let place = Place {
            name: "worker0",
            cidr: "10.2.2.1/16",
            link: "eth0",
            gateway: "10.2.0.1",
            nameservers: &nameservers,
            ntp: &ntp,
        };
        assert_eq!(
            place.json(),
            concat!(
                r#"{"addresses":[{"address":"10.2.2.1/16","linkName":"eth0","family":"inet4","#,
                r#""scope":"global","flags":"permanent","layer":"platform"}],"#,
                r#""links":[{"name":"eth0","up":true,"layer":"platform"}],"#,
                r#""routes":[{"family":"inet4","gateway":"10.2.0.1","outLinkName":"eth0","#,
                r#""table":"main","priority":1024,"scope":"global","type":"unicast","#,
                r#""protocol":"static","layer":"platform"}],"#,
                r#""hostnames":[{"hostname":"worker0","layer":"platform"}],"#,
                r#""resolvers":[{"dnsServers":["10.2.0.1"],"layer":"platform"}],"#,
                r#""timeServers":[{"timeServers":["time.cloudflare.com"],"layer":"platform"}]}"#,
            )
        );
    }
}
