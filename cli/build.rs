//! Makes the embedded workflows part of what the binary is built from.

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn main() {
    println!("cargo::rerun-if-changed=../workflows");
}
