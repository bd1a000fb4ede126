//! End-to-end tests of flow live in `it/`.
