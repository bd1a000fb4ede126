//! What differs between releases of Talos, by minor version.

/// A release of Talos 1, as its image names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    tag: String,
    minor: u32,
}

impl Release {
    /// The release of a tag such as `v1.13.4`; a tag of another shape counts as 1.13.
    pub(super) fn new(tag: &str) -> Self {
        let minor = tag
            .trim_start_matches('v')
            .strip_prefix("1.")
            .and_then(|rest| rest.split('.').next())
            .and_then(|minor| minor.parse().ok());
        Self { tag: tag.to_owned(), minor: minor.unwrap_or(13) }
    }

    /// The tag, with its `v`.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The minor version.
    pub(super) fn minor(&self) -> u32 {
        self.minor
    }

    /// Whether maintenance mode is served by the ordinary API with the role `os:reader`.
    ///
    /// Before, a small server of its own knew a handful of calls.
    pub(super) fn reads_in_maintenance(&self) -> bool {
        self.minor >= 13
    }

    /// Whether a change of configuration may still reboot the machine.
    pub(super) fn reboots_for_config(&self) -> bool {
        self.minor < 14
    }

    /// The version of etcd that it runs.
    pub(super) fn etcd(&self) -> &'static str {
        if self.minor < 12 { "3.5.21" } else { "3.6.7" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_decides() {
        assert_eq!(Release::new("v1.12.11").minor(), 12);
        assert!(!Release::new("v1.12.11").reads_in_maintenance());
        assert!(Release::new("v1.13.4").reboots_for_config());
        assert!(!Release::new("v1.14.0-rc.1").reboots_for_config());
        assert_eq!(Release::new("main").minor(), 13);
    }
}
