//! Where everything of one world listens: 127.N.0.0/16, N being the world's octet.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Port of the control server, which also guards the octet.
const CONTROL_PORT: u16 = 7000;
/// Port of every HTTPS server that has no port of its own.
const HTTPS_PORT: u16 = 8443;
/// Port of the Proxmox API.
const PROXMOX_PORT: u16 = 8006;

/// The addresses of one world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    octet: u8,
}

impl Addresses {
    /// The addresses below 127.`octet`.
    pub(crate) fn new(octet: u8) -> Self {
        Self { octet }
    }

    /// The address 127.N.`third`.`fourth`.
    pub(crate) fn at(self, third: u8, fourth: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, self.octet, third, fourth))
    }

    /// Whether an address belongs to this world.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.octets()[0] == 127 && v4.octets()[1] == self.octet,
            IpAddr::V6(_) => false,
        }
    }

    /// The control server; holding it open also keeps other worlds off this octet.
    pub(crate) fn control(self) -> SocketAddr {
        SocketAddr::new(self.at(0, 1), CONTROL_PORT)
    }

    /// The Proxmox API of the only host.
    pub(crate) fn proxmox(self) -> SocketAddr {
        SocketAddr::new(self.at(0, 10), PROXMOX_PORT)
    }

    /// The image factory.
    pub(crate) fn factory(self) -> SocketAddr {
        SocketAddr::new(self.at(0, 40), HTTPS_PORT)
    }

    /// The git server, which also serves the manifests that others publish.
    pub(crate) fn git(self) -> SocketAddr {
        SocketAddr::new(self.at(0, 50), HTTPS_PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_octet_is_inside() {
        let own = Addresses::new(7);
        assert!(own.contains(own.at(1, 1)));
        assert!(!own.contains(Addresses::new(8).at(1, 1)));
        assert!(!own.contains(IpAddr::V4(Ipv4Addr::new(10, 7, 1, 1))));
    }
}
