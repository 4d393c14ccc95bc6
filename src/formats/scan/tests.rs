//! Tricks that hide what a pickle runs, and sound files that must raise no alarm.

use super::*;

fn danger(bytes: &[u8], read_as: ReadAs) -> Danger {
    scan(&bytes, read_as).unwrap().danger()
}

#[test]
fn imports_are_found_however_the_stack_was_arranged() {
    let cases: &[(&str, &[u8])] = &[
        ("plain", b"cos\nsystem\n(S'id'\ntR."),
        ("decoys popped", b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x01a\x8c\x01b00\x93\x8c\x02id\x85R."),
        ("decoys behind a mark", b"\x80\x04\x8c\x02os\x8c\x06system(\x8c\x01a\x8c\x01b1\x93\x8c\x02id\x85R."),
        ("mark popped as a value", b"\x80\x04\x8c\x02os\x8c\x06system(0\x93\x8c\x02id\x85R."),
        (
            "memo overwritten",
            b"\x80\x04\x8c\x01aq\x000\x8c\x02osq\x000\x8c\x06systemq\x010h\x00h\x01\x93\x8c\x02id\x85R.",
        ),
        ("memoized in order", b"\x80\x04\x8c\x02os\x940\x8c\x06system\x940h\x00h\x01\x93\x8c\x02id\x85R."),
        ("escaped texts", b"\x80\x04S'\\x6fs'\nV\\u0073ystem\n\x93\x8c\x02id\x85R."),
        ("dotted name in a known module", b"\x80\x04\x8c\x08argparse\x8c\x0a_os.system\x93\x8c\x02id\x85R."),
        ("dotted name of torch", b"\x80\x04ctorch\nos.system\n."),
        ("dotted name by GLOBAL", b"\x80\x04cargparse\n_os.system\n\x8c\x02id\x85R."),
        ("INST", b"(S'id'\nios\nsystem\n."),
        ("OBJ", b"(cos\nsystem\nS'id'\no."),
        ("second pickle without PROTO", b"N.cos\nsystem\n(S'id'\ntR."),
        ("eval", b"cbuiltins\neval\n(S'1'\ntR."),
        ("before an early end", b"cos\nsystem\n(S'id'\ntR"),
    ];
    for (name, bytes) in cases {
        assert_eq!(danger(bytes, ReadAs::Pickle), Danger::Dangerous, "{name}");
    }
}

#[test]
fn what_cannot_be_followed_is_suspicious() {
    let cases: &[(&str, &[u8])] = &[
        ("unknown name", b"\x80\x02cmy_models.net\nNet\n)R."),
        ("names that are no text", b"\x80\x04K\x01K\x02\x93."),
        ("extension registry", b"\x80\x02\x82\x05."),
        ("unknown opcode", b"\x80\x02N\xff."),
        ("no end", b"\x80\x02N"),
        ("unknown protocol", b"\x80\x09N."),
        ("bytes behind the pickle", b"\x80\x02N.\xff\xfe\xfd"),
        ("a text longer than the file", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffa."),
        ("memo entry that was never put", b"\x80\x02h\x07."),
        ("memo entry far away", b"\x80\x02Nr\xff\xff\xff\xff."),
    ];
    for (name, bytes) in cases {
        assert_eq!(danger(bytes, ReadAs::Pickle), Danger::Suspicious, "{name}");
    }
}

#[test]
fn weights_are_sound() {
    const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let state: &[u8] = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04ctorch\nFloatStorage\nq\x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07K\x04tq\x08QK\x00K\x04\x85q\tK\x01\x85q\n\x89h\x00)Rq\x0btq\x0cRq\rs.";
    let old: Vec<u8> =
        [MAGIC, b"\x80\x02M\xe9\x03.", b"\x80\x02}.", state, b"\x80\x02].", b"\xff\x93cos\nsystem\n"].concat();
    let scalar: &[u8] =
        b"\x80\x04cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02f8\x89\x88tR(K\x03tbC\x08abcdefghtR.";
    let cases: &[(&str, &[u8])] = &[
        ("state dict", state),
        ("old layout of torch", &old),
        ("scalar of numpy", scalar),
        ("dict of protocol 0", b"(dp0\nS'a'\np1\nI1\ns."),
        ("two pickles", b"\x80\x02N.\x80\x02N."),
    ];
    for (name, bytes) in cases {
        let report = scan(bytes, ReadAs::Pickle).unwrap();
        assert_eq!(report.findings, [], "{name}");
    }
}

#[test]
fn old_layout_ends_quietly_only_after_its_five_pickles() {
    let short = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02N.\xff\xff";
    assert_eq!(danger(short, ReadAs::Pickle), Danger::Suspicious);
}

#[test]
fn texts_are_no_pickles() {
    for text in ["cats\nand dogs\n", "import os\n", "{\"a\": 1}\n", "(see the notes)\n", ""] {
        assert_eq!(danger(text.as_bytes(), ReadAs::Any), Danger::Sound, "{text}");
    }
}

#[test]
fn the_gravest_findings_are_kept() {
    let mut bytes: Vec<u8> = b"cmine\nNet\n0".repeat(2 * MAX_FINDINGS);
    bytes.extend(b"cos\nsystem\n.");
    let report = scan(&bytes.as_slice(), ReadAs::Pickle).unwrap();
    assert_eq!((report.danger(), report.findings.len()), (Danger::Dangerous, MAX_FINDINGS));
}

const HARM: &[u8] = b"cos\nsystem\n(S'id'\ntR.";

/// A zip of stored members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let lengths = [u32::try_from(bytes.len()).unwrap().to_le_bytes(); 2].concat();
        let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let fields = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &lengths, &name_length, &[0, 0]].concat();
        let at = u32::try_from(out.len()).unwrap().to_le_bytes();
        directory.extend([b"PK\x01\x02\x14\x00", &fields[..], &[0; 10], &at, name.as_bytes()].concat());
        out.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), bytes].concat());
    }
    let (at, length) = (u32::try_from(out.len()).unwrap(), u32::try_from(directory.len()).unwrap());
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    out.extend(directory);
    out.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &length.to_le_bytes(), &at.to_le_bytes(), &[0, 0]].concat());
    out
}

#[test]
fn archives_are_looked_into_whatever_their_members_are_called() {
    let crowd: Vec<(String, &[u8])> = (0..100).map(|index| (format!("a/{index}.pkl"), &b"N."[..])).collect();
    let mut crowd: Vec<(&str, &[u8])> = crowd.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    crowd.push(("a/data.pkl", HARM));
    let empty_zip = zip(&[]);
    let gzip = {
        let mut encoder = flate2::read::GzEncoder::new(HARM, flate2::Compression::default());
        let mut out = Vec::new();
        io::Read::read_to_end(&mut encoder, &mut out).unwrap();
        out
    };
    let cases = [
        ("after a crowd", zip(&crowd)),
        ("under another name", zip(&[("a/weights.txt", HARM)])),
        ("zip in zip", zip(&[("inner", &zip(&[("b", HARM)]))])),
        ("behind it an empty zip", [HARM, &empty_zip].concat()),
        ("gzip", gzip.clone()),
        ("gzip in zip", zip(&[("inner", &gzip)])),
        ("array of objects", [b"\x93NUMPY\x01\x00\x10\x00{'descr': '|O'}\n", HARM].concat()),
        ("begins as GGUF", [b"GGUF00000", HARM].concat()),
    ];
    for (name, bytes) in cases {
        assert_eq!(danger(&bytes, ReadAs::Pickle), Danger::Dangerous, "{name}");
        assert_eq!(danger(&bytes, ReadAs::Any), Danger::Dangerous, "{name}, under another name");
    }
    let sound = zip(&[("a/data.pkl", b"\x80\x02}."), ("a/data/0", &[0; 64]), ("a/version", b"3\n")]);
    assert_eq!(scan(&sound.as_slice(), ReadAs::Pickle).unwrap().findings, []);
}

#[test]
fn archives_that_cannot_be_followed_are_suspicious() {
    let hidden = {
        let two = zip(&[("first", HARM), ("second", b"N.")]);
        let directory = two.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        let mut out = two[..directory].to_vec();
        out.extend(b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0");
        out.extend(u32::try_from(directory).unwrap().to_le_bytes());
        out.extend([0, 0]);
        out
    };
    let deep = (0..5).fold(HARM.to_vec(), |inner, _| zip(&[("a", &inner)]));
    let cases = [
        ("no directory", b"PK\x03\x04 and nothing more".to_vec()),
        ("members that no directory names", hidden),
        ("too deep", deep),
        ("packed otherwise", b"BZh91AY&SY".to_vec()),
    ];
    for (name, bytes) in cases {
        assert_eq!(danger(&bytes, ReadAs::Pickle), Danger::Suspicious, "{name}");
    }
}

#[test]
fn code_that_loaders_run_is_named() {
    let lambda = b"{\"layers\": [{\"class_name\": \"Lambda\"}]}";
    assert_eq!(danger(&zip(&[("config.json", lambda)]), ReadAs::Any), Danger::Dangerous);
    assert_eq!(danger(b"import os\n", ReadAs::Source), Danger::CustomCode);
    assert_eq!(danger(b"{\"auto_map\": {\"AutoModel\": \"m.M\"}}", ReadAs::Config), Danger::CustomCode);
    assert_eq!(danger(b"{\"model_type\": \"llama\"}", ReadAs::Config), Danger::Sound);
    let cases: &[(&str, Danger)] = &[
        (r#"{"auto\u005fmap": {"AutoModel": "m.M"}}"#, Danger::CustomCode),
        (r#"{"a": [{"class_name" : "\u004cambda"}]}"#, Danger::Dangerous),
        (r#"{"module": "os", "class_name": "function", "config": "system"}"#, Danger::Dangerous),
        (r#"{"module": "builtins", "class_name": "function", "config": "relu"}"#, Danger::Sound),
        (r#"{"chat_template": "{{ ''.__class__.__mro__ }}"}"#, Danger::Suspicious),
        (r#"{"chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"}"#, Danger::Sound),
        (r#"{"note": "__class__ is an attribute"}"#, Danger::Sound),
        (r#"{"loss": NaN, "auto_map": {}}"#, Danger::CustomCode),
        (r#"{"loss": NaN}"#, Danger::Sound),
        (r#"{"loss": NaN, "auto\u005fmap": {}}"#, Danger::Suspicious),
    ];
    for (text, expected) in cases {
        assert_eq!(danger(text.as_bytes(), ReadAs::Config), *expected, "{text}");
    }
    assert_eq!(danger(b"{{ x | attr('a') }}", ReadAs::Template), Danger::Suspicious);
    assert_eq!(danger(b"{{ bos_token }}", ReadAs::Template), Danger::Sound);
}

#[test]
fn words_are_found_wherever_they_lie_in_a_long_file() {
    let mut hdf5 = b"\x89HDF\r\n\x1a\n".to_vec();
    hdf5.resize((4 << 20) - 7, 0);
    assert_eq!(danger(&hdf5, ReadAs::Any), Danger::Sound);
    hdf5.extend(b"{\"class_name\": \"Lambda\"}");
    hdf5.resize(9 << 20, 0);
    assert_eq!(danger(&hdf5, ReadAs::Any), Danger::Dangerous);
    for (path, expected) in [
        ("weights.bin", Danger::Sound),
        ("data/weights..bin", Danger::Sound),
        ("../../etc/passwd", Danger::Suspicious),
        ("/etc/passwd", Danger::Suspicious),
        ("C:\\x", Danger::Suspicious),
        ("a\\..\\b", Danger::Suspicious),
    ] {
        let mut onnx = b"\x08\x08\x12\x04test\x0a\x08location\x12".to_vec();
        onnx.push(u8::try_from(path.len()).unwrap());
        onnx.extend(path.as_bytes());
        assert_eq!(danger(&onnx, ReadAs::Onnx), expected, "{path}");
    }
}

#[test]
fn numbers_that_look_like_archives_by_chance_are_sound() {
    for noise in [
        &b"\x1f\x8b\x08\x00noise"[..],
        b"\x00PK\x05\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        assert_eq!(danger(&zip(&[("data/0", noise)]), ReadAs::Pickle), Danger::Sound, "{noise:?}");
    }
}

#[test]
fn an_early_end_hides_nothing_whatever_the_name() {
    assert_eq!(danger(b"cos\nsystem\n(S'id'\ntR\xff", ReadAs::Any), Danger::Dangerous);
    assert_eq!(danger(b"config\nmodel.bin\ntokenizer.json\n", ReadAs::Any), Danger::Sound);
    assert_eq!(danger(b"\x80\x02ctorch\nSize\n}b.", ReadAs::Pickle), Danger::Dangerous);
}
