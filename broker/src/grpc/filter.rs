//! Filter expressions of subscriptions, parsed at the door.

use std::collections::BTreeSet;

use tercet_proto::rocketmq::v2::{Code, FilterExpression, FilterType};

use super::refusal::Refusal;
use crate::{
    limits::{FILTER_BYTES_MAX, FILTER_TAGS_MAX},
    model::TagFilter,
};

/// Missing, empty and untyped mean everything, as in the reference. 40010 for what names no tag and for SQL.
pub fn parse(expression: Option<&FilterExpression>) -> Result<TagFilter, Refusal> {
    let Some(expression) = expression else { return Ok(TagFilter::All) };
    let refuse = |why: String| Err(Refusal::new(Code::IllegalFilterExpression, why));
    if expression.r#type == FilterType::Sql as i32 {
        return refuse(String::from("SQL filters are not supported yet; use a tag expression such as `a || b`"));
    }
    let text = expression.expression.trim();
    if text.is_empty() || text == "*" {
        return Ok(TagFilter::All);
    }
    if text.len() > FILTER_BYTES_MAX {
        return refuse(format!("filter expression is longer than {FILTER_BYTES_MAX} bytes"));
    }
    let tags: BTreeSet<String> =
        text.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    if tags.is_empty() {
        return refuse(format!("filter expression {text:?} names no tag"));
    }
    if tags.len() > FILTER_TAGS_MAX {
        return refuse(format!("filter expression names more than {FILTER_TAGS_MAX} tags"));
    }
    Ok(TagFilter::Tags(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(kind: FilterType, text: &str) -> Result<TagFilter, Refusal> {
        parse(Some(&FilterExpression { r#type: kind as i32, expression: text.to_owned() }))
    }

    #[test]
    fn missing_empty_and_star_let_everything_through() {
        assert_eq!(parse(None).expect("missing"), TagFilter::All);
        for (kind, text) in [(FilterType::Tag, "*"), (FilterType::Tag, ""), (FilterType::Unspecified, " ")] {
            assert_eq!(parsed(kind, text).expect(text), TagFilter::All);
        }
    }

    #[test]
    fn tags_are_split_and_trimmed() {
        let TagFilter::Tags(tags) = parsed(FilterType::Tag, "b || a||b ").expect("tags") else { panic!("not tags") };
        assert_eq!(tags.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(matches!(parsed(FilterType::Unspecified, "a").expect("untyped"), TagFilter::Tags(_)));
    }

    #[test]
    fn no_tag_and_sql_are_refused() {
        for (kind, text) in [(FilterType::Tag, "||"), (FilterType::Tag, " || || "), (FilterType::Sql, "a > 1")] {
            assert_eq!(parsed(kind, text).expect_err(text).code, Code::IllegalFilterExpression);
        }
    }
}
