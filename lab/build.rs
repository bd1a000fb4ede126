//! Compiles the messages of Talos' API without the program `protoc`.

#![allow(clippy::print_stdout, reason = "cargo reads what a build script prints")]

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let root = "../proto";
    let files = ["machine/machine.proto", "storage/storage.proto", "cosi/resource/state.proto"];
    let set = protox::compile(files, [root])?;
    // Both sides: the tests talk to the machines as a client.
    tonic_prost_build::configure().build_client(true).build_server(true).compile_fds(set)?;
    println!("cargo::rerun-if-changed={root}");
    Ok(())
}
