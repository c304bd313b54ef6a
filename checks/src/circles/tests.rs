use std::fs;
use std::path::Path;

use super::{Circle, of};

/// A crate of these files below `src`.
fn circles(files: &[(&str, &str)]) -> Vec<Circle> {
    let folder = tempfile::tempdir().expect("a test has a folder");
    fs::write(folder.path().join("Cargo.toml"), "[package]\nname = \"small-tree\"\n").expect("the folder is new");
    for (path, text) in files {
        let path = folder.path().join("src").join(path);
        fs::create_dir_all(path.parent().expect("below src")).expect("the folder is new");
        fs::write(path, text).expect("the folder is new");
    }
    let mut circles = of(folder.path()).expect("the tree is in order");
    for circle in &mut circles {
        let short = |path: &Path| path.strip_prefix(folder.path().join("src")).expect("below src").to_path_buf();
        circle.files.iter_mut().for_each(|path| *path = short(path));
        for (from, to, _) in &mut circle.ties {
            (*from, *to) = (short(from), short(to));
        }
    }
    circles
}

fn report(files: &[(&str, &str)]) -> String {
    circles(files).iter().map(ToString::to_string).collect()
}

#[test]
fn two_files_that_name_each_other_are_a_circle_with_the_names_that_tie_it() {
    let report = report(&[
        ("lib.rs", "mod a; mod b; mod apart;"),
        ("a.rs", "use crate::b::Below; pub struct Above(Below);"),
        ("b.rs", "use super::a::Above; pub struct Below(Vec<Above>);"),
        ("apart.rs", "use crate::a::Above; fn use_it(_: Above) {}"),
    ]);
    assert_eq!(report, "a circle of 2 files:\n  a.rs -> b.rs: Below\n  b.rs -> a.rs: Above\n");
}

#[test]
fn what_only_declares_and_passes_on_ties_nothing() {
    let files = [
        ("lib.rs", "mod folder; pub use folder::Low;"),
        ("folder/mod.rs", "mod high; mod low; pub use high::High; pub(crate) use low::Low;"),
        ("folder/high.rs", "use super::Low; pub struct High(Low);"),
        ("folder/low.rs", "pub struct Low;"),
    ];
    assert_eq!(report(&files), "");
}

#[test]
fn a_name_that_is_passed_on_leads_to_the_file_that_defines_it() {
    let report = report(&[
        ("lib.rs", "mod folder; mod other; pub use folder::*;"),
        ("folder/mod.rs", "mod high; mod low; pub use high::High as Top; pub use low::Low;"),
        ("folder/high.rs", "pub struct High(crate::Low);"),
        ("folder/low.rs", "pub fn low() -> crate::folder::Top { todo!() } pub struct Low;"),
        ("other.rs", "use crate::Top; fn top(_: Top) {}"),
    ]);
    let tied = "  folder/high.rs -> folder/low.rs: Low\n  folder/low.rs -> folder/high.rs: High\n";
    assert_eq!(report, format!("a circle of 2 files:\n{tied}"));
}

#[test]
fn a_folder_that_defines_what_its_parts_use_is_tied_to_those_that_it_uses() {
    let report = report(&[
        ("lib.rs", "mod folder;"),
        ("folder/mod.rs", "mod part; pub struct Shared; fn run() { part::act(Shared) }"),
        ("folder/part.rs", "use super::*; pub(super) fn act(_: Shared) {}"),
    ]);
    let tied = "  folder/mod.rs -> folder/part.rs: act\n  folder/part.rs -> folder/mod.rs: Shared\n";
    assert_eq!(report, format!("a circle of 2 files:\n{tied}"));
}

#[test]
fn what_only_tests_see_is_left_out() {
    let files = [
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod rig { use crate::a::A; }"),
        ("a.rs", "pub struct A(crate::b::B); #[cfg(all(test, unix))] fn only(_: A) {}"),
        (
            "b.rs",
            "pub struct B;
             #[cfg(test)] use crate::a::A;
             impl B { #[cfg(test)] fn over() -> A { A(B) } #[test] fn it_works() { crate::a::A; } }
             #[cfg(test)] mod tests { use crate::a::A; }",
        ),
    ];
    assert_eq!(report(&files), "");
    let seen = [("lib.rs", "mod a; mod b;"), files[1], ("b.rs", "pub struct B; #[cfg(not(test))] use crate::a::A;")];
    assert_eq!(circles(&seen).len(), 1);
}

#[test]
fn files_that_only_tests_see_are_files_like_others() {
    let report = report(&[
        ("lib.rs", "#[cfg(test)] mod rig; #[cfg(test)] mod tests; pub struct Given;"),
        ("rig.rs", "use crate::{Given, tests::Wanted}; pub struct Rig(Given, Wanted);"),
        (
            "tests.rs",
            "use crate::rig::Rig; pub struct Wanted; fn check(_: Rig) {} #[test] fn it_works() { crate::f() }",
        ),
    ]);
    assert_eq!(report, "a circle of 2 files:\n  rig.rs -> tests.rs: Wanted\n  tests.rs -> rig.rs: Rig\n");
}

#[test]
fn paths_in_code_and_in_the_tokens_of_macros_are_followed() {
    for mention in [
        "fn f() { crate::a::act() }",
        "fn f() { println!(\"{}\", x.len() + super::a::act()) }",
        "use crate::a; fn f() { a::act() }",
        "fn f() { use crate::a::act as other; other() }",
        "fn f() -> Vec<<u8 as crate::a::Kind>::Of> { todo!() }",
        "impl crate::a::Kind for u8 {}",
        "fn f(x: u8) { match x { crate::a::MOST => {} _ => {} } }",
        "fn f(_: crate::a::Made) {}",
        "fn f() { small_tree::a::act() }",
    ] {
        let a = "fn up() { crate::b::f() } pub fn act() {} pub trait Kind {} pub const MOST: u8 = 1; make! { Made, 3 }";
        let files = [("lib.rs", "pub mod a; mod b;"), ("a.rs", a), ("b.rs", mention)];
        assert_eq!(circles(&files).len(), 1, "{mention}");
    }
}

#[test]
fn names_of_others_and_fields_are_no_arrows() {
    let files = [
        ("lib.rs", "mod a; mod b; mod vec;"),
        ("a.rs", "use std::vec; pub use tokio::time; fn f(v: vec::IntoIter<crate::b::B>) {}"),
        ("b.rs", "pub struct B; fn f(a: X) { other!(a.vec, a.time::<u8>()); super::a::time::sleep(); a.f.a() }"),
        ("vec.rs", "use crate::b::B;"),
    ];
    assert_eq!(report(&files), "");
}

#[test]
fn files_that_only_some_builds_have_count_as_well() {
    let report = report(&[
        ("lib.rs", "#[cfg_attr(not(sim), path = \"plain.rs\")] mod form; mod user; #[path = \"odd.rs\"] mod named;"),
        ("form.rs", "pub struct Form;"),
        ("plain.rs", "pub struct Form(crate::user::User);"),
        ("user.rs", "use crate::form::Form; pub struct User; fn f(_: crate::named::Named) {}"),
        ("odd.rs", "pub struct Named;"),
    ]);
    assert_eq!(report, "a circle of 2 files:\n  plain.rs -> user.rs: User\n  user.rs -> plain.rs: Form\n");
}

#[test]
fn imports_that_lead_to_each_other_end() {
    let files = [
        ("lib.rs", "mod a; mod b; pub use a::*; pub use b::*;"),
        ("a.rs", "pub use crate::b::*; pub use super::b::Twice; use crate::Nowhere;"),
        ("b.rs", "pub use crate::a::*; pub use super::a::Twice; fn f(_: Twice, _: Missing) {}"),
    ];
    assert_eq!(report(&files), "");
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().expect("a test has a folder");
    fs::create_dir(folder.path().join("src")).expect("the folder is new");
    fs::write(folder.path().join("src/lib.rs"), "mod gone;").expect("the folder is new");
    let error = of(folder.path()).expect_err("there is no such file");
    assert!(error.to_string().ends_with("src/lib.rs: no file for `mod gone;`"), "{error}");
}
