//! Pins every name, number and type of the wire interfaces: clients that nobody can rebuild depend on them.
//!
//! `numbers.txt` lists, one a line and sorted, `message.field=number:label type`, `enum.VALUE=number` and
//! `service.Method=request -> response`. A line that changes or vanishes breaks clients; a new one is appended by
//! running the test with `TERCET_WRITE_NUMBERS=1`.

use std::{collections::BTreeSet, fs, path::Path};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, field_descriptor_proto::Label,
};

fn field_line(scope: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ => "",
    };
    let oneof = match field.oneof_index {
        Some(index) if !field.proto3_optional() => {
            format!(" in {}", message.oneof_decl[usize::try_from(index).expect("an index")].name())
        }
        _ => String::new(),
    };
    let kind = match field.type_name() {
        "" => field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        name => name.trim_start_matches('.').to_owned(),
    };
    format!("{scope}.{}={}:{label}{kind}{oneof}", field.name(), field.number())
}

fn enum_lines(scope: &str, declared: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &declared.value {
        lines.insert(format!("{scope}.{}.{}={}", declared.name(), value.name(), value.number()));
    }
}

fn message_lines(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let scope = format!("{scope}.{}", message.name());
    for field in &message.field {
        lines.insert(field_line(&scope, message, field));
    }
    for nested in &message.nested_type {
        message_lines(&scope, nested, lines);
    }
    for declared in &message.enum_type {
        enum_lines(&scope, declared, lines);
    }
}

fn lines_of(descriptors: &FileDescriptorSet) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in descriptors.file.iter().filter(|file| !file.package().starts_with("google.")) {
        for message in &file.message_type {
            message_lines(file.package(), message, &mut lines);
        }
        for declared in &file.enum_type {
            enum_lines(file.package(), declared, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |on: bool| if on { "stream " } else { "" };
                lines.insert(format!(
                    "{}.{}.{}={}{} -> {}{}",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type().trim_start_matches('.'),
                    stream(method.server_streaming()),
                    method.output_type().trim_start_matches('.'),
                ));
            }
        }
    }
    lines
}

fn compiled() -> BTreeSet<String> {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    lines_of(&FileDescriptorSet::decode(bytes).expect("what the build script wrote"))
}

#[test]
fn no_name_number_or_type_has_changed() {
    let found = compiled();
    let path = Path::new("tests/numbers.txt");
    if std::env::var_os("TERCET_WRITE_NUMBERS").is_some() {
        let text: String = found.iter().map(|line| format!("{line}\n")).collect();
        fs::write(path, text).expect("the fixture can be written");
    }
    let pinned: BTreeSet<String> =
        fs::read_to_string(path).expect("the fixture is there").lines().map(str::to_owned).collect();
    let broken: Vec<_> = pinned.difference(&found).collect();
    let unlisted: Vec<_> = found.difference(&pinned).collect();
    assert!(broken.is_empty(), "these break existing clients: {broken:#?}");
    assert!(unlisted.is_empty(), "new; list them in tests/numbers.txt: {unlisted:#?}");
}

#[test]
fn the_client_service_has_all_seventeen_calls() {
    let calls = compiled().iter().filter(|line| line.starts_with("apache.rocketmq.v2.MessagingService.")).count();
    assert_eq!(calls, 17);
}

#[test]
fn a_body_is_taken_from_the_buffer_without_a_copy() {
    use tercet_proto::rocketmq::v2::Message;
    let body = bytes::Bytes::from(vec![7_u8; 1 << 16]);
    let wire = bytes::Bytes::from(Message { body, ..Message::default() }.encode_to_vec());
    let decoded = Message::decode(wire.clone()).expect("what was just encoded");
    assert!(wire.as_ptr_range().contains(&decoded.body.as_ptr()), "the body shares the wire's buffer");
}
