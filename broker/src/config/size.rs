//! Sizes in bytes as people write them: `4MiB`, `64 KiB`, `512`.

const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a whole number of bytes with a binary unit or none.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size such as 512, 64KiB, 4MiB or 1GiB");
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).unwrap_or((text, 1));
    let number: u64 = number.trim().parse().map_err(|_| bad())?;
    number.checked_mul(factor).ok_or_else(bad)
}

/// The shortest exact way to write a size.
pub(crate) fn format_size(bytes: u64) -> String {
    let (unit, factor) =
        UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_written() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("4MiB", 4_194_304), ("1GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes));
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(parse_size("1000"), Ok(1000));
        assert_eq!(parse_size("3 KiB"), Ok(3072));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "4MB", "-1", "1.5GiB", "99999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
