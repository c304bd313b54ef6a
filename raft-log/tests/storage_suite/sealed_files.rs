//! Small files that are replaced as a whole.

use raft_log::env::Disk as _;
use raft_log::env::sim::{Crash, SimEnv};
use raft_log::storage::OpenError;
use raft_log::storage::sealed_file::{SealedFormat, read, write};
use std::path::Path;

const FORMAT: SealedFormat = SealedFormat { magic: *b"TESTFILE", version: 2 };
const FILE: &str = "/d/identity";

fn machine() -> SimEnv {
    let sim = SimEnv::new(1);
    sim.disk.create_dir_all(Path::new("/d")).unwrap();
    sim
}

fn body(sim: &SimEnv) -> Option<Vec<u8>> {
    read(&sim.env(), Path::new(FILE), FORMAT).unwrap().map(|(version, body)| {
        assert_eq!(version, 2);
        body
    })
}

#[test]
fn a_power_loss_at_any_step_leaves_the_old_or_the_new_content() {
    // hazards 5
    for old in [None, Some(b"old".to_vec())] {
        for step in 0..6 {
            for seed in 0..20 {
                let sim = machine();
                if let Some(old) = &old {
                    write(&sim.env(), Path::new(FILE), FORMAT, old).unwrap();
                }
                sim.disk.power_off_after(step);
                let written = write(&sim.env(), Path::new(FILE), FORMAT, b"new").is_ok();
                assert_eq!(written, step >= 5, "create, write, sync, rename, sync of the folder");
                sim.disk.crash(Crash::Torn { seed });
                let found = body(&sim);
                let right = found.as_deref() == Some(b"new") || (!written && found == old);
                assert!(right, "step {step} seed {seed}: {found:?}");
                write(&sim.env(), Path::new(FILE), FORMAT, b"again").unwrap();
                assert_eq!(body(&sim).as_deref(), Some(&b"again"[..]), "a leftover does not stand in the way");
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_mended_from_the_other_copy_or_noticed() {
    let sim = machine();
    write(&sim.env(), Path::new(FILE), FORMAT, b"some content").unwrap();
    let length = sim.disk.content(Path::new(FILE)).len();
    let is_damaged = |disk| {
        let env = SimEnv { disk: std::sync::Arc::new(disk), ..sim.clone() }.env();
        matches!(read(&env, Path::new(FILE), FORMAT), Err(OpenError::Damaged { .. }))
    };
    let content_of = |disk| {
        let env = SimEnv { disk: std::sync::Arc::new(disk), ..sim.clone() }.env();
        read(&env, Path::new(FILE), FORMAT).unwrap().unwrap().1
    };
    // The zeroes in the middle of a copy are all alike.
    for byte in
        (0..length).filter(|byte| byte % (length / 2) < 60 || byte % 97 == 0 || byte % (length / 2) > length / 2 - 9)
    {
        for bit in 0..8 {
            let damaged = sim.disk.fork();
            damaged.flip_bit(Path::new(FILE), byte, bit);
            assert_eq!(content_of(damaged.fork()), b"some content", "byte {byte} bit {bit}: there is another copy");
            damaged.flip_bit(Path::new(FILE), (byte + length / 2) % length, bit);
            assert!(is_damaged(damaged), "byte {byte} bit {bit} of both copies");
        }
        let cut = sim.disk.fork();
        cut.truncate(Path::new(FILE), byte);
        if byte < length / 2 {
            assert!(is_damaged(cut), "cut to {byte}");
        } else {
            assert_eq!(content_of(cut), b"some content", "cut to {byte}: one copy is left");
        }
    }
}

#[test]
fn a_file_of_one_copy_is_read_as_well() {
    let sim = machine();
    write(&sim.env(), Path::new(FILE), FORMAT, b"some content").unwrap();
    sim.disk.truncate(Path::new(FILE), sim.disk.content(Path::new(FILE)).len() / 2);
    assert_eq!(body(&sim).as_deref(), Some(&b"some content"[..]));
}

#[test]
fn a_sector_that_cannot_be_read_takes_one_copy_and_not_both() {
    // hazards 36
    for content in [&b"some content"[..], &[7; 6_000]] {
        let sim = machine();
        write(&sim.env(), Path::new(FILE), FORMAT, content).unwrap();
        let length = sim.disk.content(Path::new(FILE)).len();
        for block in (0..length as u64).step_by(4_096) {
            let disk = std::sync::Arc::new(sim.disk.fork());
            disk.lose_blocks(Path::new(FILE), block, 1);
            let sim = SimEnv { disk, ..sim.clone() };
            assert_eq!(body(&sim).as_deref(), Some(content), "block {block} of {length}");
            assert!(sim.disk.unreadable_reads() > 0);
            write(&sim.env(), Path::new(FILE), FORMAT, content).unwrap();
        }
    }
}

// What earlier versions wrote: two copies one right behind the other.
#[test]
fn two_copies_without_zeroes_between_are_read_as_well() {
    let sim = machine();
    write(&sim.env(), Path::new(FILE), FORMAT, b"some content").unwrap();
    let written = sim.disk.content(Path::new(FILE));
    let mut copy = written[..16 + 4 + 12].to_vec();
    copy.extend_from_slice(&crc32c::crc32c(&copy).to_le_bytes());
    let content = [&copy[..], &copy[..]].concat();
    sim.disk.truncate(Path::new(FILE), content.len());
    sim.disk.overwrite(Path::new(FILE), 0, &content);
    assert_eq!(body(&sim).as_deref(), Some(&b"some content"[..]));
    for at in [3, copy.len() + 3] {
        sim.disk.flip_bit(Path::new(FILE), at, 2);
        assert_eq!(body(&sim).as_deref(), Some(&b"some content"[..]));
        sim.disk.flip_bit(Path::new(FILE), at, 2);
    }
}

#[test]
fn a_newer_version_is_told() {
    // hazards 30
    let sim = machine();
    let newer = SealedFormat { version: 3, ..FORMAT };
    write(&sim.env(), Path::new(FILE), newer, b"from the future").unwrap();
    for damaged in [false, true] {
        if damaged {
            sim.disk.flip_bit(Path::new(FILE), 3, 2);
        }
        let error = read(&sim.env(), Path::new(FILE), FORMAT).unwrap_err();
        assert!(matches!(error, OpenError::NewerFormat { found: 3, supported: 2, .. }), "{error}");
    }
    assert!(body(&machine()).is_none());
}
