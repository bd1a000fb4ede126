//! Makes the embedded workflows part of what the binary is built from.

fn main() {
    println!("cargo::rerun-if-changed=../workflows");
}
