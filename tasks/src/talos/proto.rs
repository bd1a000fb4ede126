//! The messages of Talos' API, compiled from the folder `proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_enum_match_arm,
    reason = "generated code"
)]

pub(super) mod common {
    tonic::include_proto!("common");
}

pub(super) mod machine {
    tonic::include_proto!("machine");
}

pub(super) mod storage {
    tonic::include_proto!("storage");
}

pub(super) mod google {
    pub(crate) mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

pub(super) mod cosi {
    pub(crate) mod resource {
        tonic::include_proto!("cosi.resource");
    }
}
