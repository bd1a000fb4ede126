//! The messages and services of Talos' API, generated from `proto/`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::wildcard_enum_match_arm,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

pub mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}
pub mod common {
    tonic::include_proto!("common");
}
pub mod machine {
    tonic::include_proto!("machine");
}
pub mod storage {
    tonic::include_proto!("storage");
}
pub mod cosi {
    pub mod resource {
        tonic::include_proto!("cosi.resource");
    }
}
