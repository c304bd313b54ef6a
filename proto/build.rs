//! Compiles the .proto files without protoc and writes their descriptors beside the code, for the tests.

use std::{env, error::Error, fs, path::PathBuf};

use protox::prost::Message as _;

const FILES: [&str; 8] = [
    "apache/rocketmq/v2/definition.proto",
    "apache/rocketmq/v2/service.proto",
    "apache/rocketmq/v2/admin.proto",
    "tercet/admin/v1/admin.proto",
    "tercet/client/v1/consume.proto",
    "tercet/client/v1/leader.proto",
    "tercet/client/v1/publish.proto",
    "tercet/nameserver/v1/nameserver.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Bodies are `Bytes`: a received message shares the network buffer and is never copied.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
