//! Reads the sources and checks the rules of ARCHITECTURE.md: who may use whom, and where each library may be named.
//!
//! It reads text, so it is a neighbour who notices, not a compiler: rules that need more than a table are not worth it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each module, and the modules below it that it may use.
const MAY_USE: &[(&str, &str)] = &[
    ("name", ""),
    ("digest", ""),
    ("formats", "digest name"),
    ("codec", "digest formats"),
    ("config", ""),
    ("telemetry", "config"),
    ("db", "config digest name"),
    ("storage", "codec db digest formats name"),
    ("auth", "db digest name"),
    ("tally", "auth db"),
    ("catalog", "auth db digest formats name storage tally"),
    ("xet", "catalog db digest name storage"),
    ("lineage", "auth catalog codec db digest formats name storage"),
    ("license", "auth catalog db digest formats lineage name storage tally"),
    ("hooks", "auth catalog db"),
    ("smoke", "auth catalog db digest formats name storage"),
    ("import", "auth catalog db digest formats license lineage name"),
    ("demo", "digest formats name smoke"),
    ("app", "config db lineage smoke storage tally telemetry xet"),
    (
        "jobs",
        "app auth catalog codec config db digest formats hooks import license lineage name smoke storage tally telemetry xet",
    ),
    (
        "http",
        "app auth catalog codec config db digest formats hooks import jobs license lineage name smoke storage tally telemetry xet",
    ),
    (
        "cli",
        "app auth catalog codec config db demo digest formats hooks http import jobs license lineage name smoke storage \
         tally telemetry xet",
    ),
];

/// A name, and the beginnings of the places under `src/` that may write it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("actix_web", &["http/"]),
    ("actix_multipart", &["http/"]),
    ("askama", &["http/"]),
    ("object_store", &["storage/"]),
    ("candle_core", &["smoke/child/", "demo/train.rs", "lineage/weights/packed.rs"]),
    ("landlock::", &["smoke/child/"]),
    ("seccompiler::", &["smoke/child/"]),
    ("anyhow", &["cli/"]),
    ("herdbook::", &["main.rs"]),
];

/// What values and parsers never name: they compute, and know no outside world.
const OUTSIDE_WORLD: &[&str] = &["tokio", "sqlx::Pool", "sqlx::query", "reqwest", "std::fs", "std::net", "async fn"];
const PURE: &[&str] = &["name.rs", "digest.rs", "formats/", "codec/"];

/// Ways to write a query.
const QUERIES: &[&str] = &["sqlx::query", "query!(", "query_as!(", "query_scalar!(", "QueryBuilder"];
/// Ways to start a program.
const PROGRAMS: &[&str] = &["process::Command", "process::{"];

const LONGEST_FILE: usize = 500;
/// Words for what is left for later; split, so that this file does not say them.
const LATER: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ig", "nore"),
];

#[test]
fn modules_use_only_what_stands_below_them() {
    report(sources("src"), |file, breaches| {
        // A module's own tests may use what they like.
        if file.place.ends_with("/tests.rs") {
            return;
        }
        let module = file.module();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            if !["lib", "main"].contains(&module) {
                breaches.push(file.at(0, &format!("module `{module}` is missing in tests/architecture.rs")));
            }
            return;
        };
        for (offset, used) in modules_named(&file.text) {
            let is_module = MAY_USE.iter().any(|(name, _)| *name == used);
            if is_module && used != module && !allowed.split(' ').any(|name| name == used) {
                breaches.push(file.at(offset, &format!("`{module}` may not use `{used}`")));
            }
        }
    });
}

#[test]
fn libraries_stay_where_they_belong() {
    report(sources("src"), |file, breaches| {
        for (library, places) in LIBRARIES {
            if !places.iter().any(|place| file.place.starts_with(place)) {
                file.forbid(library, "not here", breaches);
            }
        }
        if PURE.iter().any(|place| file.place.starts_with(place)) {
            OUTSIDE_WORLD.iter().for_each(|name| file.forbid(name, "this module is pure", breaches));
        }
    });
}

#[test]
fn queries_stand_in_files_for_queries() {
    report(sources("src"), |file, breaches| {
        let is_for_queries = format!("/{}", file.place).contains("/db/")
            || file.place.ends_with("/db.rs")
            || ["jobs/queue.rs", "catalog/search.rs"].contains(&&*file.place);
        if !is_for_queries {
            QUERIES.iter().for_each(|name| file.forbid(name, "queries belong into a db.rs", breaches));
        }
    });
}

#[test]
fn programs_are_started_in_two_places() {
    report(sources("src"), |file, breaches| {
        if ["smoke/sandbox.rs", "db/embedded.rs"].contains(&&*file.place) {
            return;
        }
        for offset in PROGRAMS.iter().flat_map(|name| file.find(name)) {
            let named = file.text[offset..].split(['}', ';']).next().unwrap_or_default();
            if named.contains("Command") {
                breaches.push(file.at(offset, "programs are started by smoke/sandbox.rs and db/embedded.rs"));
            }
        }
    });
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    report(sources("src").chain(sources("tests")), |file, breaches| {
        if !file.text.starts_with("//!") {
            breaches.push(file.at(0, "the file does not begin with `//!`: what is it for?"));
        }
        let lines = file.text.lines().count();
        if lines >= LONGEST_FILE {
            breaches.push(file.at(0, &format!("{lines} lines: look for the second subject")));
        }
    });
}

#[test]
fn nothing_is_left_for_later() {
    report(sources("src").chain(sources("tests")), |file, breaches| {
        for (offset, word) in LATER.iter().flat_map(|word| file.text.match_indices(word)) {
            breaches.push(file.at(offset, &format!("`{word}`")));
        }
    });
}

#[test]
fn every_test_file_is_compiled() {
    report(sources("tests"), |file, breaches| {
        let path = Path::new(&file.place);
        let is_folder = path.ends_with("mod.rs");
        let module = if is_folder { path.parent() } else { Some(path) }.and_then(Path::file_stem);
        let above = path.ancestors().nth(if is_folder { 2 } else { 1 });
        let (Some(module), Some(above)) = (module.and_then(|name| name.to_str()), above) else { return };
        let parent = above.join(if above == Path::new("") { "main.rs" } else { "mod.rs" });
        let declared = fs::read_to_string(root().join("tests").join(&parent)).unwrap_or_default();
        if file.place != "main.rs" && !declared.contains(&format!("mod {module};")) {
            breaches.push(file.at(0, &format!("`mod {module};` is missing in tests/{}", parent.display())));
        }
    });
}

/// A source file: its folder `src` or `tests`, its place below, its text.
struct Source {
    tree: &'static str,
    place: String,
    text: String,
}

impl Source {
    /// The top-level module that the file belongs to.
    fn module(&self) -> &str {
        let first = self.place.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Where a name is written as a whole, outside comments.
    fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let begins = |offset: usize| !self.text[..offset].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let offsets = self.text.match_indices(name).map(|(offset, _)| offset);
        offsets.filter(move |offset| begins(*offset) && !is_comment(&self.text, *offset))
    }

    fn forbid(&self, name: &str, why: &str, breaches: &mut Vec<String>) {
        breaches.extend(self.find(name).map(|offset| self.at(offset, &format!("`{name}`: {why}"))));
    }

    fn at(&self, offset: usize, what: &str) -> String {
        let line = self.text[..offset].matches('\n').count() + 1;
        format!("{}/{}:{line}: {what}", self.tree, self.place)
    }
}

fn is_comment(text: &str, offset: usize) -> bool {
    let line = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    text[line..].trim_start().starts_with("//")
}

/// The modules behind each `crate::x` and `crate::{x, y::z}`.
fn modules_named(text: &str) -> Vec<(usize, &str)> {
    let mut named = Vec::new();
    for (offset, prefix) in text.match_indices("crate::").filter(|(offset, _)| !is_comment(text, *offset)) {
        let start = offset + prefix.len();
        if !text[start..].starts_with('{') {
            named.push((offset, first_word(&text[start..])));
            continue;
        }
        let mut depth = 0;
        let mut is_start = false;
        for (at, character) in text[start..].char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if is_start && character.is_alphabetic() && depth == 1 => {
                    named.push((start + at, first_word(&text[start + at..])));
                }
                _ => {}
            }
            is_start = depth == 1 && (matches!(character, '{' | ',') || (is_start && character.is_whitespace()));
            if depth == 0 {
                break;
            }
        }
    }
    named
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Fails with every breach that `check` finds.
fn report(sources: impl Iterator<Item = Source>, check: impl Fn(&Source, &mut Vec<String>)) {
    let mut breaches = Vec::new();
    for source in sources {
        check(&source, &mut breaches);
    }
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `src` or `tests`, in order.
fn sources(tree: &'static str) -> impl Iterator<Item = Source> {
    let base = root().join(tree);
    let mut files = Vec::new();
    collect(&base, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no sources below {}", base.display());
    files.into_iter().map(move |path| {
        let text = fs::read_to_string(&path).expect("a source is text");
        let place = path.strip_prefix(&base).expect("it was found there").display().to_string();
        Source { tree, place, text }
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are beside Cargo.toml") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
