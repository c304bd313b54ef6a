//! Bodies that other clients have packed: some do so above a size, and say `GZIP` of it.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};

use crate::message::BODY_BYTES_MAX;

/// How a gzip stream begins. What is called so and begins otherwise is a bare zlib stream.
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// The body as its producer had it. No larger than a body may be: clients check that before they pack.
pub(super) fn unpack(packed: &[u8]) -> Result<Bytes, String> {
    let unpacked = if packed.starts_with(&GZIP_MAGIC) {
        read_all(GzDecoder::new(packed))
    } else {
        read_all(ZlibDecoder::new(packed))
    };
    let unpacked = unpacked.map_err(|error| format!("its body cannot be unpacked: {error}"))?;
    if unpacked.len() > BODY_BYTES_MAX {
        return Err(format!("unpacked, its body has more than {BODY_BYTES_MAX} bytes"));
    }
    Ok(unpacked.into())
}

/// Reads at most one byte more than a body may have.
fn read_all(unpacking: impl Read) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    unpacking.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn both_containers_are_unpacked() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"plain").unwrap();
        for packed in [gzip(b"plain"), zlib.finish().unwrap()] {
            assert_eq!(unpack(&packed).unwrap().as_ref(), b"plain");
        }
    }

    #[test]
    fn a_little_that_would_become_very_much_is_refused() {
        assert_eq!(unpack(&gzip(&vec![0; BODY_BYTES_MAX])).unwrap().len(), BODY_BYTES_MAX);
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert!(unpack(&bomb).unwrap_err().contains("more than 4194304 bytes"));
    }

    #[test]
    fn what_is_neither_and_what_ends_too_soon_are_errors() {
        assert!(unpack(b"plain").is_err());
        let packed = gzip(b"plain words");
        assert!(unpack(&packed[..packed.len() - 6]).is_err());
    }
}
