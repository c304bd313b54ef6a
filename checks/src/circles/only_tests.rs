//! Which items only tests see: `#[test]`, and those whose `cfg` is false in every build without tests.

use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

pub(super) fn only_in_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let is_test = path.segments.last().is_some_and(|last| last.ident == "test");
        is_test || path.is_ident("cfg") && attribute.parse_args::<Meta>().is_ok_and(|meta| value(&meta) == Some(false))
    })
}

/// What a condition is in a build without tests; nothing if that depends on something else.
fn value(condition: &Meta) -> Option<bool> {
    if condition.path().is_ident("test") {
        return Some(false);
    }
    let Meta::List(list) = condition else { return None };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let values: Vec<Option<bool>> = parts.iter().map(value).collect();
    let (decided_by, otherwise) = match list.path.get_ident()?.to_string().as_str() {
        "not" => return values.first()?.map(|value| !value),
        "all" => (false, true),
        "any" => (true, false),
        _ => return None,
    };
    if values.contains(&Some(decided_by)) {
        Some(decided_by)
    } else {
        values.iter().all(Option::is_some).then_some(otherwise)
    }
}
