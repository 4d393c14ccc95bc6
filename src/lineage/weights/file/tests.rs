//! Round trips, lies and sizes of fingerprint files.

use proptest::{collection, option, prelude::*};

use super::*;
use crate::lineage::weights::{print::TensorDigest, shape::Shape};

fn value(precision: Precision) -> impl Strategy<Value = f32> {
    (-4.0_f32..4.0).prop_map(move |value| match precision {
        Precision::F16 => f16::from_f32(value).to_f32(),
        Precision::Bf16 | Precision::F8 => bf16::from_f32(value).to_f32(),
        Precision::F32 | Precision::Packed => value,
    })
}

fn precision() -> impl Strategy<Value = Precision> {
    use Precision::{Bf16, F8, F16, F32, Packed};
    prop_oneof![Just(F32), Just(F16), Just(Bf16), Just(F8), Just(Packed)]
}

fn share() -> impl Strategy<Value = f32> {
    (0_u16..=1000).prop_map(|thousandths| f32::from(thousandths) / 1000.0)
}

fn tensor() -> impl Strategy<Value = TensorPrint> {
    let sides = prop_oneof![(Just(1), 1_u64..600), (1_u64..80, 1_u64..80)];
    (sides, precision()).prop_flat_map(|((rows, columns), precision)| {
        let sample = collection::vec(value(precision), TensorPrint::sampled(rows, columns));
        let digests = (any::<TensorDigest>(), any::<bool>(), Just(precision != Precision::Packed));
        (sample, digests, share(), share(), share()).prop_map(move |(sample, digests, zeros, distinct, lattice)| {
            let canonical = digests.2.then_some([digests.0[0]; 16]);
            let exact = if digests.1 { Some(digests.0) } else { canonical };
            TensorPrint { rows, columns, precision, exact, canonical, zeros, distinct, lattice, sample }
        })
    })
}

fn slot() -> impl Strategy<Value = Slot> {
    let word = prop_oneof!["[a-zé.\"]{1,12}", Just("q".to_owned()), Just("down".to_owned()), Just("embed".to_owned())];
    let role = word.prop_map(|word| Role::named(&word));
    (role, option::of(0_u16..1024), option::of(any::<u16>())).prop_map(|(role, layer, expert)| Slot {
        role,
        layer,
        expert,
    })
}

fn invariant() -> impl Strategy<Value = Invariant> {
    (1_usize..6, 1_usize..4).prop_flat_map(|(tokens, depths)| {
        let product = move || collection::vec(value(Precision::F16), tokens * tokens);
        let products = (product(), product(), product()).prop_map(|(a, b, c)| [a, b, c]);
        let depths = collection::vec((any::<u16>(), products), depths);
        (collection::vec(any::<u64>(), tokens), depths).prop_map(|(tokens, depths)| Invariant { tokens, depths })
    })
}

fn print() -> impl Strategy<Value = Fingerprint> {
    let tensors = collection::btree_map(slot(), tensor(), 0..12);
    let skipped = collection::vec((".{0,40}", ".{0,40}"), 0..4);
    let panel = (precision(), 1_usize..9).prop_flat_map(|(precision, columns)| {
        collection::vec(value(precision), 80 * columns).prop_map(move |values| (precision, columns, values))
    });
    (tensors, option::of(invariant()), skipped, option::of(panel), any::<u32>()).prop_map(
        |(tensors, invariant, skipped, panel, covered)| {
            let mut shape = Shape { architecture: "LlamaForCausalLM".to_owned(), heads: 4, ..Shape::default() };
            shape.measure(&tensors);
            let embedding = tensors.get(&Slot::once(Role::Embed));
            let panel = panel.zip(embedding).filter(|(_, embedding)| embedding.rows < 80).map(
                |((precision, columns, mut values), embedding)| {
                    values.truncate(usize::try_from(embedding.rows).unwrap() * columns);
                    RowPanel { precision, vocabulary: embedding.rows, columns, values }
                },
            );
            let covered = (u64::from(covered), u64::MAX);
            Fingerprint { version: VERSION, shape, tensors, panel, invariant, covered, skipped }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(print in print()) {
        let files = [PrintedFile { path: "model.safetensors".to_owned(), sha256: "ab".repeat(32) }];
        let bytes = write(&print, &files);
        let (again, named) = read(&bytes).unwrap();
        prop_assert_eq!(&again, &print);
        prop_assert_eq!(&named[..], &files[..]);
        prop_assert_eq!(again.encode(), print.encode());
    }

    #[test]
    fn every_truncation_is_refused(print in print(), cut in any::<prop::sample::Index>()) {
        let bytes = print.encode();
        prop_assert!(Fingerprint::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in collection::vec(any::<u8>(), 0..400)) {
        let _ = Fingerprint::decode(&bytes);
        let mut framed = MAGIC.to_vec();
        framed.extend(u32::try_from(bytes.len() / 2).unwrap().to_le_bytes());
        framed.extend(bytes);
        let _ = Fingerprint::decode(&framed);
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(print in print(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = print.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Fingerprint::decode(&bytes);
    }
}

/// A file with this header and these values.
fn file(header: &str, values: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    [MAGIC, &length[..], header.as_bytes(), values].concat()
}

/// What is said of a file whose header has these tensors, this shape and more.
fn refusal(tensors: &str, shape: &str, more: &str, values: &[u8]) -> Error {
    let header = format!(
        r#"{{"version":{VERSION},"shape":{{{shape}}},"covered":[1,2],"precision":"Bf16","tensors":[{tensors}]{more}}}"#
    );
    read(&file(&header, values)).unwrap_err()
}

const VECTOR: &str = r#"{"role":"norm","columns":2,"precision":"Bf16"}"#;
const EMBED: &str = r#"{"role":"embed","rows":2,"columns":1,"precision":"Bf16"}"#;

#[test]
fn every_lie_has_its_own_answer() {
    let no = &[][..];
    let cases = [
        (read(b"GGUF").unwrap_err(), "this is no fingerprint"),
        (read(&vec![0; MAX_FILE + 1]).unwrap_err(), "the fingerprint has 16777217 bytes, at most 16777216 are read"),
        (read(&file(r#"{"version":1,"other":[]}"#, no)).unwrap_err(), "has version 1, this program compares version"),
        (read(&file("{", no)).unwrap_err(), "header is not valid"),
        (read(&file("\u{fffd}", no)).unwrap_err(), "header is not valid"),
        (read(&[MAGIC, &[255; 4][..]].concat()).unwrap_err(), "needs 4294967307 bytes and has 12"),
        (refusal(VECTOR, "", "", &[0; 3]), "it is truncated"),
        (refusal(VECTOR, "", "", &[0; 5]), "1 bytes at the end"),
        (refusal(VECTOR, "", "", &[0, 0, 0x80, 0x7f]), "a value of `norm` is not a finite number"),
        (refusal(&[VECTOR; 2].join(","), "", "", &[0; 8]), "`norm` occurs twice"),
        (refusal(r#"{"role":"q","columns":0,"precision":"F32"}"#, "", "", no), "`q` claims 1 × 0 values"),
        (refusal(r#"{"role":"q","rows":0,"columns":4,"precision":"F32"}"#, "", "", no), "`q` claims 0 × 4 values"),
        (
            refusal(r#"{"role":"q","rows":18446744073709551615,"columns":4,"precision":"F32"}"#, "", "", no),
            "claims 18446744073709551615 × 4",
        ),
        (refusal(r#"{"role":"q","layer":1024,"columns":4,"precision":"F32"}"#, "", "", no), "in a layer beyond"),
        (refusal(r#"{"role":"q","columns":1,"precision":"F32","zeros":1.5}"#, "", "", no), "is not between 0 and 1"),
        (refusal(r#"{"role":"q","columns":1,"precision":"F32","exact":"00"}"#, "", "", &[0; 4]), "a digest of `q`"),
        (refusal("", r#""layers":60000"#, "", no), "`layers` contradicts its tensors"),
        (refusal(EMBED, r#""vocabulary":3,"hidden":1"#, "", &[0; 4]), "`vocabulary` contradicts its tensors"),
        (
            refusal("", "", r#","panel":{"precision":"F32","vocabulary":9,"columns":9}"#, no),
            "the panel of embedding rows",
        ),
        (
            refusal(VECTOR, "", r#","panel":{"precision":"Bf16","vocabulary":1,"columns":1}"#, &[0; 6]),
            "the panel of embedding rows",
        ),
        (refusal("", "", r#","invariant":{"tokens":[],"depths":[0]}"#, no), "0 tokens and 1 layers"),
        (refusal("", "", r#","invariant":{"tokens":["+0"],"depths":[0]}"#, &[0; 6]), "a digest of `invariant`"),
        (refusal("", "", r#","files":[{"path":"a","sha256":"00"}]"#, no), "a digest of `a`"),
        (
            refusal("", "", &format!(r#","skipped":[["{}",""]]"#, "a".repeat(MAX_TEXT + 1)), no),
            "a text in the fingerprint has 513 bytes",
        ),
        (
            refusal("", "", &format!(r#","skipped":[{}]"#, [r#"["",""]"#; MAX_SKIPPED + 1].join(",")), no),
            "lists 65 skipped tensors",
        ),
    ];
    for (error, expected) in cases {
        assert!(error.to_string().contains(expected), "{error}: {expected}");
    }
}

#[test]
fn more_tensors_than_are_read_are_counted_not_kept() {
    let many = vec![r#"{"role":"","columns":1,"precision":"F8"}"#; crate::formats::MAX_TENSORS + 1].join(",");
    assert_eq!(refusal(&many, "", "", &[]), Error::TooMany { what: "tensors", found: 200_001, limit: 200_000 });
}

#[test]
fn a_model_of_eight_billion_parameters_fits_in_600_kibibytes() {
    let mut tensors = BTreeMap::new();
    let mut add = |slot: Slot, rows: u64, columns: u64| {
        let count = TensorPrint::sampled(rows, columns);
        let (zeros, distinct, lattice) = if rows == 1 { (0.0, 1.0, 1.0) } else { (0.000_123, 0.9876, 0.2468) };
        let canonical = Some([171; 16]);
        let precision = Precision::Bf16;
        let sample = vec![0.5; count];
        let print =
            TensorPrint { rows, columns, precision, exact: canonical, canonical, zeros, distinct, lattice, sample };
        tensors.insert(slot, print);
    };
    let (hidden, feed) = (4096, 14_336);
    for layer in 0..32 {
        for (role, rows, columns) in [
            (Role::Query, hidden, hidden),
            (Role::Key, 1024, hidden),
            (Role::Value, 1024, hidden),
            (Role::Output, hidden, hidden),
            (Role::Gate, feed, hidden),
            (Role::Up, feed, hidden),
            (Role::Down, hidden, feed),
            (Role::AttentionNorm, 1, hidden),
            (Role::FeedNorm, 1, hidden),
        ] {
            add(Slot::at(role, layer), rows, columns);
        }
    }
    add(Slot::once(Role::FinalNorm), 1, hidden);
    add(Slot::once(Role::Embed), 128_256, hidden);
    add(Slot::once(Role::Head), 128_256, hidden);
    let mut shape = Shape { architecture: "LlamaForCausalLM".to_owned(), ..Shape::default() };
    shape.measure(&tensors);
    let product = || vec![0.5; 48 * 48];
    let depths = [0, 10, 20, 31].map(|layer| (layer, [product(), product(), product()])).to_vec();
    let print = Fingerprint {
        version: VERSION,
        shape,
        tensors,
        panel: Some(RowPanel { precision: Precision::Bf16, vocabulary: 128_256, columns: 8, values: vec![0.5; 8192] }),
        invariant: Some(Invariant { tokens: vec![u64::MAX; 48], depths }),
        covered: (8_030_261_248, 8_030_261_248),
        skipped: Vec::new(),
    };
    let bytes = print.encode();
    assert_eq!(Fingerprint::decode(&bytes).unwrap(), print);
    assert!(bytes.len() <= 600 << 10, "{} bytes", bytes.len());
}
