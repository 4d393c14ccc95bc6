//! Refuses a license catalogue with an incomplete term.

#[path = "src/license/catalogue/check.rs"]
#[expect(dead_code, unreachable_pub, reason = "the program uses the rest of it")]
mod check;

fn main() {
    const DATA: &str = "src/license/data/licenses.json";
    println!("cargo::rerun-if-changed={DATA}");
    println!("cargo::rerun-if-changed=src/license/catalogue/check.rs");
    let text = std::fs::read_to_string(DATA).expect("the catalogue is part of the sources");
    let data = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{DATA}: {error}"));
    if let Err(problem) = check::check_data(&data) {
        panic!("{DATA}: {problem}");
    }
}
