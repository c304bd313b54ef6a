//! What is spread over the parts of a load.

/// `total` spread over `parts`, the first ones getting what does not divide evenly.
pub(super) fn share(total: u32, parts: u32, part: u32) -> u32 {
    total / parts + u32::from(part < total % parts)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up() {
        assert_eq!([share(10, 4, 0), share(10, 4, 1), share(10, 4, 2), share(10, 4, 3)], [3, 3, 2, 2]);
        assert_eq!((0..3).map(|part| share(1, 3, part)).sum::<u32>(), 1);
    }
}
