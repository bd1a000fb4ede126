//! Compiles the messages of Talos' API without the program `protoc`.

#![allow(clippy::print_stdout, reason = "cargo reads what a build script prints")]

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = "../proto";
    let files = ["machine/machine.proto", "storage/storage.proto", "cosi/resource/state.proto"];
    let set = protox::compile(files, [root])?;
    // What faults can name.
    let methods =
        set.file.iter().flat_map(|file| &file.service).flat_map(|service| &service.method);
    let rpcs: Vec<&str> = methods.filter_map(|method| method.name.as_deref()).collect();
    let list = format!("/// The calls of a machine.\nconst RPCS: &[&str] = &{rpcs:?};\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("rpcs.rs"), list)?;
    // Both sides: the tests talk to the machines as a client.
    tonic_prost_build::configure().build_client(true).build_server(true).compile_fds(set)?;
    println!("cargo::rerun-if-changed={root}");
    Ok(())
}
