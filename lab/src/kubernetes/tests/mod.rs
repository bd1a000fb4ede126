//! The API over TLS.

mod support;
