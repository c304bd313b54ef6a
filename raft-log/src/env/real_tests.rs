use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn more_slices_than_one_system_call_takes_are_all_written() {
    let dir = folder();
    let file = RealDisk.open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
    let bytes: Vec<u8> = (0..3_000_u32).map(|at| (at % 251) as u8).collect();
    let slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
    file.write_vectored_at(&slices, 7).unwrap();
    let mut back = vec![0; bytes.len()];
    file.read_exact_at(&mut back, 7).unwrap();
    assert_eq!(back, bytes);
    assert_eq!(file.byte_len().unwrap(), 3_007);
}

#[test]
fn a_short_write_is_finished_from_the_right_place() {
    let dir = folder();
    let raw = fs::OpenOptions::new().read(true).write(true).create_new(true).open(dir.path().join("f")).unwrap();
    let group = [IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"defg"), IoSlice::new(b"hi")];
    raw.write_all_at(b"abcde", 10).unwrap();
    write_rest(&raw, &group, 5, 10).unwrap();
    let mut back = [0; 9];
    raw.read_exact_at(&mut back, 10).unwrap();
    assert_eq!(&back, b"abcdefghi");
}

#[test]
fn allocated_space_reads_as_zeroes() {
    let dir = folder();
    let file = RealDisk.open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
    file.allocate(8_192).unwrap();
    assert_eq!(file.byte_len().unwrap(), 8_192);
    file.write_all_at(b"x", 4_096).unwrap();
    let mut content = [1; 8_192];
    file.read_exact_at(&mut content, 0).unwrap();
    assert_eq!(content[4_096], b'x');
    assert!(content[..4_096].iter().all(|byte| *byte == 0));
}

#[test]
fn data_is_found_behind_reserved_space() {
    let dir = folder();
    let file = RealDisk.open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
    file.allocate(1 << 20).unwrap();
    file.write_all_at(b"x", 700_000).unwrap();
    let found = file.next_data(10).unwrap();
    assert!((10..=700_000).contains(&found), "never behind the data: {found}");
    assert!((700_001..=1 << 20).contains(&file.next_data(700_001).unwrap()));
}

#[test]
fn a_zeroed_range_reads_as_zeroes_and_counts_as_data_and_leaves_the_rest_alone() {
    let dir = folder();
    let file = RealDisk.open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
    file.allocate(4 << 20).unwrap();
    // The second range is not aligned to anything.
    for (offset, bytes) in [(1 << 20, 2 << 20), (12_345, 54_321)] {
        file.write_all_at(&[7; 100], offset - 50).unwrap();
        file.write_all_at(&[7; 100], offset + bytes - 50).unwrap();
        file.zero(offset, bytes).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.next_data(offset).unwrap(), offset, "written, not only reserved");
        let mut found = vec![1; usize::try_from(bytes).unwrap() + 100];
        file.read_exact_at(&mut found, offset - 50).unwrap();
        let (before, rest) = found.split_at(50);
        let (zeroed, after) = rest.split_at(rest.len() - 50);
        assert_eq!((before, after), (&[7; 50][..], &[7; 50][..]));
        assert!(zeroed.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_second_lock_on_the_same_file_is_refused_until_the_first_is_dropped() {
    let dir = folder();
    let path = dir.path().join("LOCK");
    let first = RealDisk.lock(&path).unwrap();
    let refused = RealDisk.lock(&path).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    drop(first);
    RealDisk.lock(&path).unwrap();
}

#[test]
fn reading_past_the_end_is_told() {
    let dir = folder();
    let file = RealDisk.open(&dir.path().join("f"), OpenMode::CreateNew).unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    assert_eq!(file.read_at(&mut [0; 8], 1).unwrap(), 2);
    assert_eq!(file.read_exact_at(&mut [0; 8], 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn listing_names_files_only_and_sorted() {
    let dir = folder();
    RealDisk.create_dir_all(&dir.path().join("sub/deeper")).unwrap();
    for name in ["b", "a"] {
        RealDisk.open(&dir.path().join(name), OpenMode::CreateNew).unwrap();
    }
    assert_eq!(RealDisk.list(dir.path()).unwrap(), ["a", "b"]);
    assert!(RealDisk.free_bytes(dir.path()).unwrap() > 0);
}
