//! Cilium.
